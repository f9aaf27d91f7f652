"""Errors of replicated objects, beside those of a client (`ClientError`)."""

from __future__ import annotations

from typing import NoReturn

from raftline.clients.connection import ClientError, Refused, Unreachable


class WrongKind(Refused, TypeError):
    """Under this name is something of another kind; nothing was done."""


class NotDone(ClientError):
    """A condition did not hold, so nothing was done; each object makes its own error of it."""


class Closed(Unreachable):
    """Nobody is asked any more: the node, or the clients, were closed; nothing was done."""


class LockLost(RuntimeError):
    """The lock was not renewed in time, and somebody else may have it."""


class NodeError(RuntimeError):
    """A node can't start, or is none of this process. The message says why and what to do."""


class NoCopies:
    """Says so where it is to be copied or pickled: it asks the cluster, and holds nothing."""

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} can't be copied or pickled: it asks the cluster, and holds "
            "nothing. Take what its methods return, or make another one there"
        )
