"""One asyncio connection to one node: how it is made, and its incoming lines."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar, cast

from raftline.common.address import Address
from raftline.net.dialing import NEXT_S, NOBODY
from raftline.net.line_connection import ConnectionEnded, TooLong
from raftline.wire.limits import REPLY_LINE_BYTES

from ..connections.client_access import ClientAccess
from ..connections.codes import CodesOpening
from ..connections.node_connection import no_such_host

Lines = TypeVar("Lines", bound="LineProtocol")


class LineProtocol(asyncio.Protocol):
    """Splits the incoming bytes into lines, until the connection ends."""

    def __init__(self, address: Address, sender: str = "", cluster: str = "") -> None:
        """With `sender`, the client's name, refusals contain codes; see `CodesOpening`."""
        self.address = address
        self._codes = CodesOpening(sender, cluster)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._searched = 0  # its first bytes, which have no newline
        self._problem: OSError | None = None  # the reason for its end

    @property
    def is_open(self) -> bool:
        return self._problem is None

    def close(self, why: OSError) -> None:
        """End the connection at once."""
        if self._problem is None:
            self._problem = why
            self._received = bytearray()
            if self._transport is not None:
                self._transport.abort()
            self._ended(why)

    def hang_up(self) -> None:
        """End the connection after its event loop was closed, which would have closed it."""
        end = None if self._transport is None else self._transport.get_extra_info("socket")
        if end is not None:
            with contextlib.suppress(OSError, TypeError):  # uvloop's has none
                end.shutdown(socket.SHUT_RDWR)

    def _take(self, lines: list[bytes]) -> None:
        """Handle incoming lines, without their newlines."""
        raise NotImplementedError

    def _ended(self, why: OSError) -> None:
        """Wake the waiters for a line."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has another class
        if not self.is_open:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.close(error if isinstance(error, OSError) else ConnectionEnded())

    def data_received(self, data: bytes) -> None:
        if not self.is_open:
            return
        received = self._received
        received += data
        end = received.rfind(b"\n", self._searched)
        if end < 0:
            self._searched = len(received)
            if self._searched > REPLY_LINE_BYTES:
                self.close(TooLong(REPLY_LINE_BYTES))
            return
        lines = bytes(received[:end]).split(b"\n")
        del received[: end + 1]
        self._searched = 0
        self._take(lines[1:] if self._codes.is_answered_by(lines[0]) else lines)


async def reach(
    node: Address,
    make: Callable[[Address], Lines],
    access: ClientAccess,
    limit_s: float,
    others: Iterator[Address] = NOBODY,
) -> Lines:
    """Return a connection to a node, or to one of `others` if it is reached first, as
    `dialing.dial` does for threads. `make` makes its protocol.

    Raises:
        OSError: the node can't be reached, or the TLS handshake fails. TimeoutError: no node was
            reached within `limit_s`.
    """
    loop = asyncio.get_running_loop()
    until_s = loop.time() + limit_s
    attempts: dict[asyncio.Task[Lines], Address] = {}
    address: Address | None = node
    try:
        while (left_s := until_s - loop.time()) > 0:
            if address is not None:
                attempts[asyncio.ensure_future(_reach_one(address, make, access))] = address
            left_s = min(NEXT_S, left_s)
            await asyncio.wait(attempts, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            for attempt in [each for each in attempts if each.done()]:
                if attempts.pop(attempt) == node or attempt.exception() is None:
                    return attempt.result()
            address = next(others, None)
        raise TimeoutError
    finally:
        for each in attempts:
            if each.done():  # now: a caller that cancels expects no open connections later
                _close(each)
            else:
                each.add_done_callback(_close)
                each.cancel()


async def _reach_one(
    address: Address, make: Callable[[Address], Lines], access: ClientAccess
) -> Lines:
    loop = asyncio.get_running_loop()
    options: dict[str, Any] = {}
    is_asyncios = isinstance(loop, asyncio.BaseEventLoop)  # uvloop has no such option
    if is_asyncios and loop.get_task_factory() is None:  # eager tasks can't race in some 3.12, 3.13
        options["happy_eyeballs_delay"] = NEXT_S
    options |= access.stream_options(address.host)
    try:
        _, protocol = await loop.create_connection(lambda: make(address), *address, **options)
    except UnicodeError:  # not a name that can be looked up, such as a..b
        raise no_such_host() from None
    return protocol


def _close(attempt: asyncio.Task[Lines]) -> None:
    """Close a connection that was made in addition to the one in use."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close(ConnectionAbortedError("another node was reached before"))


async def ends_within(work: Awaitable[object], seconds: float | None) -> bool:
    """Wait for `work` to end, for at most this time (None: forever); return whether it has ended.
    Cancel it if it has not, or if the waiting task is cancelled. Before Python 3.12,
    `asyncio.wait_for` may lose the cancellation of the waiting task."""
    future = asyncio.ensure_future(work)
    try:
        return bool((await asyncio.wait([future], timeout=seconds))[0])
    finally:
        future.cancel()
