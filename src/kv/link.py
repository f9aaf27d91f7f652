"""One connection of asyncio to one node, with any number of requests in flight.

Replies come in the order of the lines (docs/use/protocol.md), so the first that waits is the one
that is answered; its number has to be that of the line. A cancelled request keeps its
place, and its reply is dropped.
"""

from __future__ import annotations

import asyncio
from collections import deque

from ..clients.lines import ConnectionEnded
from ..common.address import Address
from ..wire.protocol import ProtocolError, split_sender, without_controls
from ..wire.replies import Reply
from .line_protocol import LineProtocol


class Link(LineProtocol):
    """Sends lines in the order of the calls, those of one turn of the loop at once."""

    def __init__(self, address: Address, sender: str) -> None:
        """`sender` is the client's name; refusals have codes here."""
        super().__init__(address, sender)
        self._heard_s = 0.0  # when the last bytes came, by the loop's clock
        self._asked_s = 0.0  # since when a reply is awaited
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._waiting: deque[tuple[str, asyncio.Future[Reply]]] = deque()  # and their numbers
        self._unsent: list[bytes] = []
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._is_retired = False
        self._is_used = False
        self._unasked: Reply | None = None  # what the node said before anything was sent

    # --- for the asker --------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether the node has much to read yet."""
        return not self._may_write.is_set()

    async def writable(self) -> None:
        """Wait until the node has read enough of what was sent."""
        await self._may_write.wait()

    def send(self, line: bytes) -> asyncio.Future[Reply]:
        """Send a line, `NAME@COMMAND` or `NAME#ID@COMMAND`; the reply comes as the result, or an
        OSError."""
        future: asyncio.Future[Reply] = self._loop.create_future()
        if not self.is_open:
            if self._unasked is not None:  # such as that the node is full; so nothing was sent
                future.set_result(self._unasked)
            else:
                future.set_exception(ConnectionEnded())
            return future
        self._is_used = True
        if not self._waiting:
            self._asked_s = self._loop.time()
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(line)
        number = line[: line.index(b"@")].partition(b"#")[2].decode()
        self._waiting.append((number, future))
        return future

    def send_last(self, lines: list[bytes]) -> None:
        """Send lines before the end, if they can leave at once. No answer is awaited."""
        if self.is_open and not self.is_full:
            self._unsent += lines
            self._flush()

    def retire(self) -> None:
        """Close once all that was asked is answered; nothing more is sent."""
        self._is_retired = True
        if not self._is_awaited:
            self.close(ConnectionEnded())

    def give_up(self, silent_s: float) -> None:
        """Record that a request had no reply in its time. The node hangs if nothing at all came
        for `silent_s`, which is longer than the limit of one request may be."""
        since_s = max(self._heard_s, self._asked_s)
        is_of_no_use = self._is_retired and not self._is_awaited
        if is_of_no_use or self._loop.time() - since_s >= silent_s:
            self.close(TimeoutError())

    @property
    def _is_awaited(self) -> bool:
        """Whether a request still waits for its reply."""
        return any(not future.done() for _, future in self._waiting)

    def _ended(self, why: OSError) -> None:
        """Let requests that wait fail with `why`."""
        self._may_write.set()
        waiting, self._waiting = self._waiting, deque()
        for _, future in waiting:
            if not future.done():
                future.set_exception(why)
        if self._transport is None and not self.closed.done():
            self.closed.set_result(None)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None and self.is_open and unsent:
            self._transport.write(b"\n".join([*self._codes.take_unsent(), *unsent, b""]))

    # --- asyncio's ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._heard_s = self._loop.time()
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def data_received(self, data: bytes) -> None:
        self._heard_s = self._loop.time()
        super().data_received(data)

    def _take(self, lines: list[bytes]) -> None:
        for raw in lines:
            if not self._answered(raw):
                return
        if self._is_retired and not self._waiting:
            self.close(ConnectionEnded())

    def _answered(self, raw: bytes) -> bool:
        try:
            text = without_controls(raw.removesuffix(b"\r").decode("utf-8", "surrogateescape"))
            name, number, text = split_sender(text)
        except ProtocolError:
            name = ""
        if not name:
            self.close(ConnectionError("answered something that is not raftline"))
            return False
        if not self._waiting:  # a node sends goodbye, unasked
            if not self._is_used:
                self._unasked = Reply(name, text)
            self.close(ConnectionEnded())
            return False
        asked, future = self._waiting.popleft()
        if number != asked:
            self._waiting.appendleft((asked, future))
            self.close(ConnectionError("answered another request than the next"))
            return False
        if not future.done():
            future.set_result(Reply(name, text))
        return True
