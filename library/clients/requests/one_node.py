"""A conversation with one named node, as a machine (`steps.py`): it connects, sends a line and
reads the answer, with a deadline. It does not search for the leader, and sends nothing twice.

`raftline status`, the view, and the course's controller, trial and kit use it. A watch takes the
same steps at one node after another. `NodeShell` carries them out for a thread, `AioNodeShell` in
`clients/asyncio/line_stream.py` for a task.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple, TypeVar

from raftline.common.address import Address
from raftline.common.process.wakeup import Flag
from raftline.net.dialing import NOBODY

from ..connections.client_access import OPEN_ACCESS, ClientAccess
from ..connections.node_connection import Deadline, NodeConnection


class Connect(NamedTuple):
    """A step: connect to this node, or to one of `others` that is reached while it hangs, and log
    in. The answer is the address of the connected node. Raises OSError, ClientError."""

    address: Address
    limit_s: float
    others: Iterator[Address] = NOBODY


class Send(NamedTuple):
    """A step: send a line, within this time. Raises OSError."""

    line: bytes
    limit_s: float | None = None  # None: the connection's limit


class NextLine(NamedTuple):
    """A step: read the next line. Raises TimeoutError if no line arrives in time, and OSError."""

    until_s: float
    bytes_max: int | None = None  # None: the limit of any reply


class HangUp(NamedTuple):
    """A step: close the connection, if there is one."""


class Rest(NamedTuple):
    """A step: wait for this time, or until the conversation is over."""

    seconds: float


Kind = TypeVar("Kind")
NodeStep = Connect | Send | NextLine | HangUp | Rest
Talk = Generator[NodeStep, Any, Kind]


def one_answer(
    address: Address, line: bytes, deadline: Deadline, bytes_max: int | None = None
) -> Talk[bytes]:
    """Connect to a node, and return the answer to a line. One deadline covers all steps.

    Raises:
        LoginFailed, Unreachable: the node accepts no login. OSError: it can't be reached, or does
            not answer.
    """
    yield Connect(address, deadline.attempt_s)
    return (yield from answer_to(line, address, deadline, bytes_max))


def answer_to(
    line: bytes | None,
    address: Address,
    deadline: Deadline,
    bytes_max: int | None = None,
    limit_s: float | None = None,
) -> Talk[bytes]:
    """Return the answer to `line`, both without a newline; None is a line that was sent before. If
    the answer is late, `deadline.notice` reports that. The limit is that of an attempt, unless
    `limit_s` is given.

    Raises:
        OSError: the answer did not arrive in time, or the connection broke. The connection is then
            useless.
    """
    limit_s = deadline.attempt_s if limit_s is None else limit_s
    until_s = deadline.now_s + limit_s
    broken: OSError | None = None
    try:
        if line is not None:
            yield Send(line, limit_s)
    except OSError as error:
        broken = error  # a node that closes early sends the reason first: it may be here
    try:
        if deadline.notice_s < until_s:
            with contextlib.suppress(TimeoutError):
                raw: bytes = yield NextLine(deadline.notice_s, bytes_max)
                return raw.removesuffix(b"\r")
            node = f"{address.host} port {address.port}"
            deadline.notice(f"waiting for {node}, at most {limit_s:.3g} s")
        raw = yield NextLine(until_s, bytes_max)
        return raw.removesuffix(b"\r")
    except OSError as error:
        raise broken or error from None


def do_at(connection: NodeConnection, step: Send | NextLine) -> bytes | None:
    """Carry out a step on a connection."""
    if isinstance(step, NextLine):
        return connection.read(step.until_s, step.bytes_max)
    connection.timeout_s = step.limit_s or connection.timeout_s
    connection.send(step.line)
    return None


class BaseNodeShell:
    """One connection at a time to a node, for a thread or a task."""

    def __init__(
        self,
        sender: str,
        access: ClientAccess = OPEN_ACCESS,
        *,
        asks_codes: bool = True,
        cluster: Callable[[], str] = lambda: "",
    ) -> None:
        """Initialize without connecting. `sender` logs in, and asks for codes in refusals with
        `asks_codes`. `cluster` returns the identity of the only cluster whose nodes may serve."""
        self.over = Flag()  # set once no further connection is allowed
        self._sender = sender
        self._access = access
        self._codes = sender if asks_codes else ""
        self._cluster = cluster


class NodeShell(BaseNodeShell):
    """Carries out the steps of a conversation for a thread."""

    connection: NodeConnection | None = None

    def __enter__(self) -> NodeShell:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def do(self, step: NodeStep) -> Any:
        """Carry out a step, and return its answer."""
        connection = self.connection
        if isinstance(step, Connect):
            return self.open(step)
        if isinstance(step, HangUp):
            return self.close()
        if isinstance(step, Rest):
            return self.over.wait(step.seconds)
        if connection is None:
            raise ConnectionError("this connection was closed")
        return do_at(connection, step)

    def open(self, step: Connect) -> Address:
        """Connect and log in, within the time of the step, unless there is a connection to that
        node; return the connected node."""
        if self.connection is not None and self.connection.address == step.address:
            return step.address
        until_s = time.monotonic() + step.limit_s
        connection = self._access.dial(
            step.address, step.limit_s, self._codes, step.others, self._cluster()
        )
        try:
            self.connection = connection
            if self.over.is_set():  # set by another thread meanwhile
                raise ConnectionError("this connection was closed")
            self._access.log_in(connection, self._sender, until_s - time.monotonic())
        except BaseException:
            self.close()  # else the next step would find a connection without a login
            raise
        return connection.address

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()
