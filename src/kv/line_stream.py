"""Lines of one asyncio connection, as they come: those of a watch, and of the view."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator

from raftline.clients.connection import line_of
from raftline.clients.dialing import NOBODY
from raftline.clients.lines import ConnectionEnded
from raftline.clients.login import Credentials, text_in
from raftline.clients.tls import ClientTls
from raftline.common.address import Address
from raftline.kv.asker import take_steps
from raftline.kv.line_protocol import LineProtocol, reach

LINES_MAX = 1000  # lines not taken yet; beyond, nothing is read, and the node ends the watch


class LineStream(LineProtocol):
    """Keeps the lines that came until they are taken. A wait for one can be cancelled."""

    def __init__(self, address: Address, sender: str = "") -> None:
        super().__init__(address, sender)
        self._lines: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._is_paused = False

    def send(self, line: bytes) -> None:
        """Send a line."""
        if self._transport is not None:
            self._transport.write(b"\n".join([*self._codes.take_unsent(), line, b""]))

    def abort(self) -> None:
        """End the connection at once."""
        self.close(ConnectionEnded())

    async def read(self, wait_s: float) -> bytes:
        """Return the next line without its newline.

        Raises:
            TimeoutError: none came in that time.
            OSError: the connection has ended.
        """
        if not self._lines and self._problem is None:
            self._waiter = self._loop.create_future()
            timer = self._loop.call_later(wait_s, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        if self._lines:
            line = self._lines.popleft()
            if self._is_paused and not self._lines and self._transport is not None:
                self._is_paused = False
                self._transport.resume_reading()
            return line
        raise self._problem or TimeoutError()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _ended(self, why: OSError) -> None:
        self._wake()

    def _take(self, lines: list[bytes]) -> None:
        self._lines.extend(lines)
        if len(self._lines) > LINES_MAX and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        if self._lines:
            self._wake()


async def open_stream(
    address: Address,
    speaker: str,
    tls: ClientTls | None,
    credentials: Credentials | None,
    limit_s: float,
    *,
    asks_codes: bool = False,
    others: Iterator[Address] = NOBODY,
) -> LineStream:
    """Return a connection to a node, on which the user of `credentials` is logged in; or to one of
    the others, if that is reached before. With `asks_codes` refusals have codes.

    Raises:
        LoginFailed, Unreachable: see `clients.login.exchange`.
        OSError: the node is not reached, or the TLS handshake fails. TimeoutError: that, or an
            answer to the login, takes longer than `limit_s`.
    """

    def make(address: Address) -> LineStream:
        return LineStream(address, speaker if asks_codes else "")

    stream = await reach(address, make, tls, limit_s, others)

    async def answer_to(command: str) -> str:
        stream.send(line_of(speaker, command))
        return text_in(await stream.read(limit_s))

    try:
        if credentials is not None:
            await take_steps(credentials, answer_to)
    except BaseException:
        stream.abort()
        raise
    return stream
