"""The incoming lines of one asyncio connection, of a watch or of the view."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

from raftline.common.address import Address
from raftline.net.line_connection import ConnectionEnded

from ..connections.client_login import text_in
from ..connections.node_connection import line_of
from ..requests.one_node import BaseNodeShell, Connect, HangUp, NodeStep, Rest, Send
from .asker import take_steps
from .line_protocol import LineProtocol, ends_within, reach

LINES_MAX = 1000  # unread lines; beyond that, nothing is received, and the node ends the watch


class LineStream(LineProtocol):
    """Buffers incoming lines until they are read. A wait for a line can be cancelled."""

    def __init__(self, address: Address, sender: str = "", cluster: str = "") -> None:
        super().__init__(address, sender, cluster)
        self._lines: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._is_paused = False

    def send(self, line: bytes) -> None:
        """Send a line."""
        if self._transport is not None:
            self._transport.write(b"\n".join([*self._codes.take_unsent(), line, b""]))

    async def read(self, wait_s: float) -> bytes:
        """Return the next line without its newline.

        Raises:
            TimeoutError: no line arrived in that time.
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


class AioNodeShell(BaseNodeShell):
    """Carries out the steps of a conversation for a task."""

    stream: LineStream | None = None

    async def do(self, step: NodeStep) -> Any:
        """Carry out a step, and return its answer."""
        stream = self.stream
        if isinstance(step, Connect):
            return await self.open(step)
        if isinstance(step, HangUp):
            return self.close()
        if isinstance(step, Rest):
            return await asyncio.sleep(step.seconds)
        if stream is None:
            raise ConnectionError("this connection was closed")
        if isinstance(step, Send):
            return stream.send(step.line)
        return await stream.read(max(0.0, step.until_s - time.monotonic()))

    async def open(self, step: Connect) -> Address:
        """Connect and log in, within the time of the step; return the node that was reached.

        Raises:
            LoginFailed, Unreachable: see `client_login.exchange`.
            OSError: the node can't be reached, or the TLS handshake fails. TimeoutError: the
                connection or the login takes longer.
        """
        until_s = time.monotonic() + step.limit_s

        def make(address: Address) -> LineStream:
            return LineStream(address, self._codes, self._cluster())

        async def answer_to(command: str) -> str:
            stream.send(line_of(self._sender, command))
            return text_in(await stream.read(max(0.0, until_s - time.monotonic())))

        stream = await reach(step.address, make, self._access, step.limit_s, step.others)
        self.stream = stream
        if self.over.is_set():
            self.close()
        else:
            login = asyncio.ensure_future(take_steps(self._access, answer_to))
            try:
                if not await ends_within(login, max(0.0, until_s - time.monotonic())):
                    raise TimeoutError
                login.result()
            except BaseException:  # the task was cancelled, for example
                self.close()
                raise
        return stream.address

    def close(self) -> None:
        """End the connection at once, if there is one."""
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.close(ConnectionEnded())
