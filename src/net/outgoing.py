"""The lines that leave on one connection: replies, in the order of the requests, and what watches
tell."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from raftline.common.wakeup import Wakeup
from raftline.net.host import Batch, Host, ReplySink, Source
from raftline.wire.protocol import NO_LEADER, error, outcome_unknown, reply_line

PIECE_CHARACTERS: Final = 1 << 20  # of replies that are spelled before the first of them leaves
READS_AT_ONCE: Final = 16
BATCHES_MAX: Final = 64  # unanswered ones of a client that sends on; then its next lines wait
PUSHED_MAX: Final = 256 << 10  # bytes that watches tell at once; more is asked for piece by piece


class Outgoing(ReplySink):
    """The replies of one connection.

    Whoever answers the last request that a reply waits for sends it, without waiting: to wake the
    connection's own thread for that would cost more than all the rest of a request (1.3 times as
    many sets at 64 connections without it: docs/develop/speed.md). What a reader does not take at
    once goes out by a thread that lives until it has, so nobody else is held up.

    A watch that follows closely is pushed its lines, without waiting. One that is behind is a
    source: it is asked for a piece whenever the reader has taken the one before. So a slow reader
    takes no memory beyond a piece.
    """

    def __init__(self, host: Host, connection: socket.socket) -> None:
        self._host = host
        self._socket = connection
        self._lock = threading.Lock()  # for what never waits
        self._batches: deque[Batch] = deque()  # in the order of their lines; the head is sent first
        self._sources: deque[Source] = deque()  # in turn
        self._is_stuck = False  # a thread waits for the reader, and sends what follows
        self._is_awaited = False  # the connection's thread sleeps on …
        self._moved = Wakeup()
        self.bytes_sent = 0

    # --- the connection's thread ---------------------------------------------------------------

    def add(self, batch: Batch) -> None:
        """Take a batch whose replies leave behind all that were added before."""
        self._batches.append(batch)

    def wait_until_empty(self) -> None:
        """Return once every reply has left, or the reader has."""
        self._is_awaited = True
        while not self.is_empty():
            self._moved.wait()
        self._is_awaited = False

    def is_empty(self) -> bool:
        """Whether every reply has left."""
        with self._lock:  # else what is no longer in `_batches` may not be in the socket yet
            return not (self._batches or self._is_stuck)

    def is_full(self) -> bool:
        """Whether a client that sends without reading must wait before it may send more."""
        return self._is_stuck or len(self._batches) >= BATCHES_MAX

    def wait_for_room(self) -> None:
        """Return once a client that sends without reading may send more."""
        if self.is_full():
            self._is_awaited = True
            while self.is_full():
                self._moved.wait()
            self._is_awaited = False

    def send(self, replies: list[str]) -> None:
        """Send lines, all of which have been made, and wait until they have been taken.

        Raises:
            OSError: the reader is gone, or took nothing for too long.
        """
        data = ("\n".join(replies) + "\n").encode("utf-8", "replace")
        while not self._is_taken():
            self.wait_until_empty()
        try:
            self._socket.sendall(data)
            self.bytes_sent += len(data)
        finally:
            with self._lock:
                self._is_stuck = False
        self.pump()

    def _is_taken(self) -> bool:
        """Keep all others from sending, if every reply has left; return whether it is so now."""
        with self._lock:
            if self._batches or self._is_stuck:
                return False
            self._is_stuck = True
            return True

    def add_sources(self, sources: Sequence[Source]) -> None:
        """Take watches that have something to tell; `pump` sends it."""
        with self._lock:
            self._sources.extend(sources)

    def pump(self) -> None:
        """Send what the sources have, by this thread while the reader takes all at once, else by
        one that waits for the reader. Others may send in between the pieces."""
        while self._sources:
            with self._lock:
                if self._is_stuck:
                    return
                data = self._next_of_sources()
                sent = self._send(data)
                if sent < len(data):
                    self._send_later(data[sent:])

    # --- any thread ----------------------------------------------------------------------------

    def mark_ready(self) -> None:
        """Note that replies can leave; see `ReplySink`."""
        self._host.mark_ready(self)

    def send_now(self, data: bytes) -> bool:
        """Send without waiting; return whether all was taken. Behind a part of it nothing leaves
        any more: what follows would be read as the rest of its line."""
        with self._lock:
            sent = 0 if self._is_stuck else self._send(data)
            if 0 < sent < len(data):
                self._cut_off()
            return sent == len(data)

    def flush(self) -> None:
        """Send the replies that are complete, up to the first request that has none yet."""
        with self._lock:
            if self._is_stuck:
                return
            while data := self._next():
                sent = self._send(data)
                if sent < len(data) and self._send_later(data[sent:]):
                    return
        if self._is_awaited:
            self._moved.set()

    def push(self, data: bytes, fall_behind: Callable[[], Sequence[Source]]) -> None:
        """Send lines of watches without waiting. Where the reader is slow, or they are many,
        nothing is sent: `fall_behind` makes the watches sources, which tell the same later."""
        with self._lock:
            if self._is_stuck or self._sources:  # whoever sends now asks the sources then
                self._sources.extend(fall_behind())
            elif len(data) > PUSHED_MAX:
                self._sources.extend(fall_behind())
                self._send_later(b"")
            else:
                sent = self._send(data)
                if sent < len(data):
                    self._send_later(data[sent:])

    def break_off(self) -> None:
        """End the connection; see `ReplySink`. A thread that waits here goes on."""
        with self._lock:
            self._cut_off()
        self._moved.set()

    def give_up_late(self, before_ms: int) -> None:
        """Answer what was asked before then and has no answer; with the driver's `core` held."""
        with self._lock:  # `add` may put more behind these meanwhile: an iterator would not have it
            batches = [self._batches[place] for place in range(len(self._batches))]
        for batch in batches:
            if batch.asked_ms >= before_ms or not batch.asked_ms:  # 0: about to be handed over
                return
            if not batch.is_answered:
                late = "no quorum answered in time"
                batch.answer_rest(NO_LEADER if batch.is_read else outcome_unknown(late))

    def _next(self) -> bytes:
        """Return the next replies that are complete, spelled: about a megabyte at the most."""
        lines: list[str] = []
        size = 0
        while self._batches and self._batches[0].is_answered and size < PIECE_CHARACTERS:
            batch = self._batches[0]
            begin = batch.sent
            replies = batch.replies[begin:]
            if not replies:
                if batch.reader is None:  # confirmed by nobody
                    break
                end = min(begin + READS_AT_ONCE, len(batch.commands))
                replies = batch.reader.read(batch.commands[begin:end])
            for number, reply in zip(batch.ids[begin:], replies, strict=False):
                lines.append(reply_line(self._host.name, number, reply))
                size += len(reply)
            batch.sent += len(replies)
            if batch.sent == len(batch.commands):
                self._batches.popleft()
        return ("\n".join(lines) + "\n").encode("utf-8", "replace") if lines else b""

    def _next_of_sources(self) -> bytes:
        """Return the next piece of the source whose turn it is; those that have none go."""
        while self._sources:
            source = self._sources.popleft()
            data = source.next_piece()
            if data:
                self._sources.append(source)
                return data
        return b""

    def _send(self, data: bytes) -> int:
        try:
            sent = self._socket.send(data, socket.MSG_DONTWAIT)
            self.bytes_sent += sent
            return sent
        except BlockingIOError:
            return 0
        except OSError:
            self._batches.clear()
            self._sources.clear()
            return len(data)

    def _send_later(self, data: bytes) -> bool:
        """Have a thread of its own send this and all that follows; return whether there is one.
        With the lock held."""
        self._is_stuck = True
        drain = threading.Thread(
            target=self._drain, args=(data,), name="slow reader", daemon=True
        )
        try:
            drain.start()
        except RuntimeError:  # no thread to be had
            self._cut_off()
            return False
        return True

    def _drain(self, data: bytes) -> None:
        """Send to a reader that is slow, until it has all; SO_SNDTIMEO bounds each wait."""
        try:
            while self._is_stuck:
                self._socket.sendall(data)
                with self._lock:
                    self.bytes_sent += len(data)
                    data = self._next() or self._next_of_sources()
                    self._is_stuck = bool(data)
        except (OSError, MemoryError):
            with self._lock:
                self._cut_off()
        self._moved.set()

    def _cut_off(self) -> None:
        """Take nothing more from a reader who can't be sent to; with the lock held."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._batches.clear()
        self._sources.clear()
        self._is_stuck = False


class Replies:
    """Replies that the thread of a connection makes itself, and sends together."""

    def __init__(self, name: str, outgoing: Outgoing) -> None:
        self._name = name
        self._outgoing = outgoing
        self._lines: list[str] = []

    def add(self, request_id: str, text: str) -> None:
        """Add the reply to a request."""
        self._lines.append(reply_line(self._name, request_id, text))

    def flush(self) -> None:
        """Send the replies that have gathered; SO_SNDTIMEO ends it for a reader that takes none.

        Raises:
            OSError: the reader is gone, or took nothing for too long.
        """
        if self._lines:
            lines, self._lines = self._lines, []
            self._outgoing.send(lines)

    def complain(self, problem: str) -> None:
        """Send a complaint behind them, if the reader is still there."""
        self.add("", error(problem))
        with contextlib.suppress(OSError):
            self.flush()
