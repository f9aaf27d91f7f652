"""The base of all replicated objects: a name, a way to the cluster and a time limit; and their
errors.

The errors are in addition to a client's errors (`ClientError`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

from raftline.clients.connections.node_connection import ClientError, Refused
from raftline.clients.requests.conversation import Client
from raftline.clients.requests.pool import time_limit
from raftline.clients.requests.times import Seconds
from raftline.common.errors import RaftlineError
from raftline.common.no_copies import NoCopies
from raftline.common.public import public
from raftline.wire.done_reply import is_done
from raftline.wire.protocol import escape, unescape
from raftline.wire.strict_json import Json, NotJsonError, checked, format_json, read_json

from .object_kinds import EMPTY
from .object_operations import fits

_Object = TypeVar("_Object", bound="ReplicatedObject")


@public("raftline.errors")
class WrongKind(Refused, TypeError):
    """The object of this name has another kind; nothing was done."""


class NotDone(ClientError):
    """A condition did not hold, so nothing was done. Each kind of object converts this into its own
    error."""


@public("raftline")
class NodeError(RaftlineError, RuntimeError):
    """A node can't start, or runs in another process. The message explains the reason and what to
    do."""


class Asker(Protocol):
    """The way to the cluster: a `Node`, or a `KV`."""

    @property
    def name(self) -> str: ...
    def request(self, command: str, timeout: float | None = None) -> str: ...


class ReplicatedObject(NoCopies):
    """One value under one name, shared by all programs; every use of it is a request to the
    cluster.

    Reads are linearizable: they see every write, by any program, that was acknowledged before they
    began. A method returns a copy; changing the copy changes nothing else.

    Raises, from any method:
        NoLeader, Unreachable, Refused: nothing was done. WrongKind: the name belongs to another
            kind.
        OutcomeUnknown: the change may or may not take effect.
        TypeError, ValueError: JSON can't represent the value; nothing was sent.
    """

    kind = ""

    def __init__(self, name: str, node: Asker, *, timeout: Seconds | None = None) -> None:
        """Name the object, without sending a request. `timeout` is in seconds and defaults to the
        node's."""
        if not isinstance(name, str):
            raise TypeError(f"a name is a str, not {type(name).__name__}")
        if not name:
            raise ValueError("a replicated object needs a name")
        self.name = name
        self._node = _asker(node)
        self._timeout = None if timeout is None else time_limit(timeout)
        self._key = escape(checked(name), key=True)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {self._node.name}>"  # without a request

    def within(self: _Object, timeout: Seconds) -> _Object:
        """Return this object with another time limit in seconds."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, _timeout=time_limit(timeout))
        return other

    def delete(self) -> None:
        """Remove the object from the cluster; its next use finds it empty."""
        self._request(f"delete {self._key}")

    def _request(self, command: str) -> str:
        try:
            return self._node.request(command, self._timeout)
        except Refused as refusal:
            if refusal.code != "wrong-kind":
                raise
            raise WrongKind(str(refusal)) from None

    def _read(self) -> Json:
        """Return the whole object as stored in the cluster."""
        return self._checked(self._value(read_json(EMPTY[self.kind])))

    def _checked(self, value: Json) -> Json:
        """Return a value if it is an object of this kind, or raise WrongKind."""
        if not fits(self.kind, value):
            raise WrongKind(f"{self.name} holds no {self.kind} but something else")
        return value

    def _text(self) -> str | None:
        """Return the text stored under the name, if any."""
        reply = self._request(f"get {self._key}")
        return unescape(reply.partition(": ")[2]) if is_done(reply) else None

    def _value(self, absent: Json) -> Json:
        """Return the value stored under the name, or `absent`."""
        text = self._text()
        return absent if text is None else self._understood(text)

    def _understood(self, text: str) -> Json:
        try:
            return read_json(text)
        except ValueError as error:
            raise WrongKind(f"{self.name} is not JSON: {error}") from None

    def _do(self, operation: str, *operands: object) -> Json:
        """Carry out an operation of this kind and return its result.

        Raises:
            NotDone: the condition of the operation did not hold.
        """
        arguments = "".join(f" {line_value(each)}" for each in operands)
        reply = self._request(f"object {self._key} {self.kind}.{operation}{arguments}")
        rest = reply.partition(": ")[2]
        if not is_done(reply):
            raise NotDone(rest)
        return read_json(unescape(rest))

    def _do_or_raise(self, error: Exception, operation: str, *operands: object) -> Json:
        """Carry out an operation and return its result; raise `error` if its condition did not
        hold."""
        try:
            return self._do(operation, *operands)
        except NotDone:
            raise error from None


class ReplicatedCollection(ReplicatedObject):
    """A dict, a set or a list. A read copies the whole collection at one moment."""

    def copy(self) -> Any:
        """Return the whole collection as a plain one."""
        raise NotImplementedError

    def __contains__(self, item: object) -> bool:
        return item in self.copy()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.copy())

    def __len__(self) -> int:
        return len(self.copy())

    def clear(self) -> None:
        """Remove all items, in one step."""
        self._do("clear")


def _asker(node: Any) -> Asker:
    if isinstance(node, Client) or not callable(getattr(node, "request", None)):
        raise TypeError(
            "node must be a raftline.Node, or raftline.connect(address) to a cluster "
            f"that runs elsewhere, not a {type(node).__name__}"
        )
    asker: Asker = node
    return asker


def line_value(value: Any) -> str:
    """Return the form of a value in a command. Raises TypeError, ValueError."""
    try:
        return escape(format_json(checked(value)), key=False)
    except NotJsonError as error:
        raise ValueError(f"{error}, which is not replicated; nothing was sent") from None
