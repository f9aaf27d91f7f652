"""What can go wrong with a replicated object, beside what a client hears (raftline.link)."""

from __future__ import annotations

from raftline.link import ClientError, Refused


class WrongKind(Refused, TypeError):
    """Under this name is something of another kind; nothing was done."""


class NotDone(ClientError):
    """A condition did not hold, so nothing was done; each object makes its own error of it."""


class LockLost(RuntimeError):
    """The lock was not renewed in time, and somebody else may have it."""


class NodeError(RuntimeError):
    """A node can't start, or has stopped. The message says what happened and what to do."""
