"""A conversation with one named node, as a machine (`steps.py`): it connects, sends a line and
takes what answers it, by a deadline. It searches for no leader, and asks nothing twice.

So ask `raftline status`, the view, the course's controller, trial and kit. A watch takes the same
steps at one node after the other. `NodeShell` carries them out for a thread, `AioNodeShell` of
`kv/line_stream.py` for a task.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple, TypeVar

from ..common.address import Address
from ..common.wakeup import Flag
from .connection import Deadline, NodeConnection
from .dialing import NOBODY
from .login import Credentials, log_in
from .tls import ClientTls


class Connect(NamedTuple):
    """A step: connect to this node, or to one of the others that is reached while it hangs, and log
    in. The answer is the address of the one that it is. Raises OSError, ClientError."""

    address: Address
    limit_s: float
    others: Iterator[Address] = NOBODY


class Send(NamedTuple):
    """A step: send a line, within this time. Raises OSError."""

    line: bytes
    limit_s: float | None = None  # None: that of the connection


class NextLine(NamedTuple):
    """A step: the answer is the next line. Raises TimeoutError if none comes in time, OSError."""

    until_s: float
    bytes_max: int | None = None  # None: as long as any reply


class HangUp(NamedTuple):
    """A step: close the connection, if there is one."""


class Rest(NamedTuple):
    """A step: wait so long, or until the conversation is over."""

    seconds: float


Kind = TypeVar("Kind")
NodeStep = Connect | Send | NextLine | HangUp | Rest
Talk = Generator[NodeStep, Any, Kind]


def one_answer(
    address: Address, line: bytes, deadline: Deadline, bytes_max: int | None = None
) -> Talk[bytes]:
    """Connect to a node, and return the line that answers this one. One deadline holds for all.

    Raises:
        LoginFailed, Unreachable: it takes no login. OSError: it is not reached, or does not answer.
    """
    yield Connect(address, deadline.attempt_s)
    return (yield from answer_to(line, address, deadline, bytes_max))


def answer_to(
    line: bytes, address: Address, deadline: Deadline, bytes_max: int | None = None
) -> Talk[bytes]:
    """Return the line that answers `line`, both without a newline. If it is late,
    `deadline.notice` reports that.

    Raises:
        OSError: it did not come in time, or the connection broke. It is of no use then.
    """
    limit_s = deadline.attempt_s
    until_s = deadline.now_s + limit_s
    broken: OSError | None = None
    try:
        yield Send(line, limit_s)
    except OSError as error:
        broken = error  # a node that closes early sends why first: the reply may be there
    try:
        if deadline.notice_s < until_s:
            with contextlib.suppress(TimeoutError):
                raw: bytes = yield NextLine(deadline.notice_s, bytes_max)
                return raw.removesuffix(b"\r")
            node = f"{address.host} port {address.port}"
            deadline.notice(f"waiting for {node}, {limit_s:.3g} s in all")
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
    """One connection at a time to a node, of a thread or a task."""

    def __init__(
        self,
        sender: str,
        credentials: Credentials | None = None,
        tls: ClientTls | None = None,
        *,
        asks_codes: bool = True,
    ) -> None:
        """Make no connection yet. `sender` logs in, and asks for codes in refusals if wanted."""
        self.over = Flag()  # set once nothing more is to be connected to
        self._sender = sender
        self._credentials = credentials
        self._tls = tls
        self._codes = sender if asks_codes else ""


class NodeShell(BaseNodeShell):
    """The steps of a conversation, carried out for a thread."""

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
        node; return the node that was reached."""
        if self.connection is not None and self.connection.address == step.address:
            return step.address
        until_s = time.monotonic() + step.limit_s
        connection = NodeConnection(step.address, step.limit_s, self._tls, self._codes, step.others)
        try:
            self.connection = connection
            if self.over.is_set():  # meanwhile, by another thread
                raise ConnectionError("this connection was closed")
            if self._credentials is not None:
                log_in(connection, self._credentials, self._sender, until_s - time.monotonic())
        except BaseException:
            self.close()  # else the next step would find a connection without its login
            raise
        return connection.address

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()
