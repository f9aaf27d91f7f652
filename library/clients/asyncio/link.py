"""One asyncio connection to one node, with any number of requests in flight.

Replies arrive in the order of the lines (docs/use/protocol.md), so a reply answers the first
waiting request, and its number has to be the number of that request. A cancelled request keeps its
place, and its reply is dropped.
"""

from __future__ import annotations

import asyncio
from collections import deque

from raftline.common.address import Address
from raftline.net.line_connection import ConnectionEnded, is_delivered
from raftline.wire.protocol import ProtocolError, split_sender, without_controls
from raftline.wire.replies.replies import Reply

from .line_protocol import LineProtocol


class Link(LineProtocol):
    """Sends lines in the order of the calls, and all lines of one turn of the event loop at
    once."""

    def __init__(self, address: Address, sender: str, cluster: str = "") -> None:
        """`sender` is the client's name; refusals contain codes on this connection. A node of
        another cluster than `cluster` serves nothing on it."""
        super().__init__(address, sender, cluster)
        self._heard_s = 0.0  # when the last bytes arrived, by the loop's clock
        self._asked_s = 0.0  # the time since which a reply is awaited
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._waiting: deque[tuple[str, asyncio.Future[Reply]]] = deque()  # and their numbers
        self._unsent: list[bytes] = []
        self._may_write = asyncio.Event()
        self._may_write.set()
        self.holders = 0  # requests that will come back for their replies
        self._is_retired = False
        self._is_used = False
        self._unasked: Reply | None = None  # a line of the node before anything was sent

    # --- for the asker --------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether the node still has much to read."""
        return not self._may_write.is_set()

    async def writable(self) -> None:
        """Wait until the node has read enough of the sent bytes."""
        await self._may_write.wait()

    def send(self, line: bytes) -> asyncio.Future[Reply]:
        """Send a line, `NAME@COMMAND` or `NAME#ID@COMMAND`; return a future of the reply or an
        OSError."""
        future: asyncio.Future[Reply] = self._loop.create_future()
        if not self.is_open:
            if self._unasked is not None:  # for example, the node is full; nothing was sent
                future.set_result(self._unasked)
            else:
                future.set_exception(ConnectionEnded())
            return future
        self._is_used = True
        if not self._waiting:
            self._asked_s = self._loop.time()
        number = line[: line.index(b"@")].partition(b"#")[2].decode()
        try:
            if not self._unsent:
                self._loop.call_soon(self._flush)
            self._unsent.append(line)
            self._waiting.append((number, future))
        except BaseException:
            self._interrupted()
            raise
        return future

    def _interrupted(self) -> None:
        """Close the connection after an exception, for example of a signal handler, between a line
        and its place among the waiting requests: replies would answer other requests."""
        self.close(ConnectionAbortedError("a request was interrupted"))

    def await_longer(self, future: asyncio.Future[Reply]) -> asyncio.Future[Reply] | None:
        """Return another future for the reply that `future` awaited too long; None if it will not
        arrive."""
        for place, (number, each) in enumerate(self._waiting):
            if each is future:
                longer: asyncio.Future[Reply] = self._loop.create_future()
                self._waiting[place] = number, longer
                return longer
        return None

    def end_if_dead(self, undelivered_s: float, silent_s: float) -> None:
        """Close the connection if nothing has arrived for `silent_s`; if the node's kernel has not
        acknowledged all lines either, for `undelivered_s`."""
        end = None if self._transport is None else self._transport.get_extra_info("socket")
        since_s = self._loop.time() - max(self._heard_s, self._asked_s)
        is_undelivered = end is None or not is_delivered(end)
        if since_s >= (undelivered_s if is_undelivered else silent_s):
            self.close(TimeoutError())

    def send_last(self, lines: list[bytes]) -> None:
        """Send lines before the end, if they can be written at once. No answer is awaited."""
        if self.is_open and not self.is_full:
            self._unsent += lines
            self._flush()

    def retire(self) -> None:
        """Close the connection once all requests are answered; send nothing more."""
        self._is_retired = True
        if self._is_of_no_use:
            self.close(ConnectionEnded())

    def resume(self) -> None:
        """Undo `retire`: the connection is the current one again."""
        self._is_retired = False

    def give_up(self, silent_s: float) -> None:
        """Record that a request that got no reply has ended. The node hangs if nothing at all
        arrived for `silent_s`, which is longer than the first wait of any request."""
        since_s = max(self._heard_s, self._asked_s)
        if self._is_of_no_use or self._loop.time() - since_s >= silent_s:
            self.close(TimeoutError())

    @property
    def _is_of_no_use(self) -> bool:
        """Whether the connection is retired, and no request still waits for its reply."""
        if not self._is_retired or self.holders:
            return False
        return all(future.done() for _, future in self._waiting)

    def _ended(self, why: OSError) -> None:
        """Fail the waiting requests with `why`."""
        self._may_write.set()
        waiting, self._waiting = self._waiting, deque()
        for _, future in waiting:
            if not future.done():
                future.set_exception(why)
        if self._transport is None and not self.closed.done():
            self.closed.set_result(None)

    def _flush(self) -> None:
        try:
            unsent, self._unsent = self._unsent, []
            if self._transport is not None and self.is_open and unsent:
                self._transport.write(b"\n".join([*self._codes.take_unsent(), *unsent, b""]))
        except BaseException:
            self._interrupted()
            raise

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
        if self._is_retired and not self._waiting and not self.holders:
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
        if not self._waiting:  # an unsolicited line: the node is closing
            if not self._is_used:
                self._unasked = Reply(name, text)
            self.close(ConnectionEnded())
            return False
        expected, future = self._waiting.popleft()
        if number != expected:
            self._waiting.appendleft((expected, future))
            self.close(ConnectionError("answered a request other than the next one"))
            return False
        if not future.done():
            future.set_result(Reply(name, text))
        return True
