"""Lines of one asyncio connection, as they come: those of a watch, and of the view."""

from __future__ import annotations

import asyncio
from collections import deque

from raftline.clients.codes import CodesOpening
from raftline.clients.connection import line_of
from raftline.clients.dialing import NEXT_S
from raftline.clients.lines import ConnectionEnded, TooLong
from raftline.clients.login import Credentials, text_in
from raftline.clients.tls import ClientTls
from raftline.common.address import Address
from raftline.kv.asker import take_steps, tls_arguments
from raftline.wire.limits import REPLY_LINE_BYTES

LINES_MAX = 1000  # lines not taken yet; beyond, nothing is read, and the node ends the watch


class LineStream(asyncio.Protocol):
    """Keeps the lines that came until they are taken. A wait for one can be cancelled."""

    def __init__(self, codes: CodesOpening) -> None:
        self._codes = codes
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._lines: deque[bytes] = deque()
        self._received = bytearray()
        self._searched = 0  # its first bytes, which hold no newline
        self._problem: OSError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._is_paused = False

    def send(self, line: bytes) -> None:
        """Send a line."""
        if self._transport is not None:
            self._transport.write(b"\n".join([*self._codes.take_unsent(), line, b""]))

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()
        self._end(ConnectionEnded())

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

    def _end(self, problem: OSError) -> None:
        self._problem = self._problem or problem
        self._received = bytearray()
        self._wake()

    # --- asyncio's ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error if isinstance(error, OSError) else ConnectionEnded())

    def data_received(self, data: bytes) -> None:
        if self._problem is not None:
            return
        received = self._received
        received += data
        end = received.rfind(b"\n", self._searched)
        if end < 0:
            self._searched = len(received)
            if self._searched > REPLY_LINE_BYTES:
                self._end(TooLong(REPLY_LINE_BYTES))
                self.abort()
            return
        self._lines.extend(bytes(received[:end]).split(b"\n"))
        del received[: end + 1]
        self._searched = 0
        if self._codes.is_answered_by(self._lines[0]):
            self._lines.popleft()
            if not self._lines:
                return
        if len(self._lines) > LINES_MAX and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()


async def open_stream(
    address: Address,
    speaker: str,
    tls: ClientTls | None,
    credentials: Credentials | None,
    limit_s: float,
    *,
    asks_codes: bool = False,
) -> LineStream:
    """Return a connection to a node, on which the user of `credentials` is logged in. With
    `asks_codes` refusals have codes.

    Raises:
        LoginFailed, Unreachable: see `clients.login.exchange`.
        OSError: the node is not reached, or the TLS handshake fails. TimeoutError: that, or an
            answer to the login, takes longer than `limit_s`.
    """
    host, port = address
    connecting = asyncio.get_running_loop().create_connection(
        lambda: LineStream(CodesOpening(speaker if asks_codes else "")),
        host,
        port,
        happy_eyeballs_delay=NEXT_S,
        **tls_arguments(tls, host),
    )
    try:
        _, stream = await asyncio.wait_for(connecting, limit_s)
    except asyncio.TimeoutError:  # another class before Python 3.11
        raise TimeoutError from None

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
