"""The outgoing lines of a connection's socket: the machine of
`net/protocol/outgoing_protocol.py`, plus the lock, the socket and the threads that it lacks."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable
from typing import Final

from ...common.process.guarded_thread import begin_thread
from ...common.process.wakeup import Wakeup
from ..protocol.host import Batch, ReplyHost
from ..protocol.outgoing_protocol import OutgoingProtocol

_GONE: Final = getattr(select, "POLLRDHUP", select.POLLHUP)  # also if unread bytes are left


class Outgoing(OutgoingProtocol):
    """The replies of one connection, sent on its socket by any thread.

    The thread that completes a reply sends it, without waiting. Waking the connection's own thread
    would cost more than all the rest of a request: without that, 64 connections carry out 1.3 times
    as many sets (docs/develop/speed.md). For a very long reply, or if the reader does not take a
    reply at once, a temporary thread sends the rest. That thread makes one piece at a time, once
    the node has room for it (`ReplyRoom`). So a slow reader delays no other connection, and takes
    no memory beyond a piece or one long reply.

    A watch that keeps up is pushed its lines, without waiting. A lagging watch is a backlog: it is
    asked for the next piece when the reader has taken the last one.

    `_send`, `_send_later` and `_cut_off` are called with the lock held.
    """

    def __init__(self, host: ReplyHost, connection: socket.socket) -> None:
        super().__init__(host)
        self._socket = connection
        self._lock = threading.Lock()  # never held during waits, long computations or file reads
        self._counting = threading.Lock()  # taken last
        self._sending = threading.Lock()  # held to wait for the reader; taken before `_lock`
        self._has_waiter = False  # the connection's thread sleeps on `_moved`
        self._moved = Wakeup()
        self._has_ended = False  # by this node: nothing more is sent
        self._awaited: Batch | None = None  # the connection's thread waits for its answer
        self._tell: Callable[[], None] | None = None  # tells the shared reader that there is room

    # --- the thread that reads: the connection's own, or the shared reader ---------------------

    def wait_until_empty(self) -> None:
        """Wait until every reply has been sent, or the reader is gone."""
        self._has_waiter = True
        while not self.is_empty():
            self._moved.wait()
        self._has_waiter = False

    def wait_for_room(self) -> None:
        """Wait until a client that sends without reading may send more."""
        if self.is_full():
            self._has_waiter = True
            while self.is_full():
                self._moved.wait()
            self._has_waiter = False

    def notify_of_room(self, tell: Callable[[], None]) -> bool:
        """Call `tell`, in any thread, once a client that sends without reading may send more;
        return False if it may now. `tell` may be called twice."""
        self._tell = tell
        return self.is_full()

    def _has_moved(self) -> None:
        if self._has_waiter:
            self._moved.set()
        tell = self._tell
        if tell is not None and not self.is_full():
            self._tell = None
            tell()

    def send_bytes(self, data: bytes) -> None:
        """Send whole lines, or bytes between lines, and wait until the kernel has taken them.

        Raises:
            OSError: the reader is gone, or took nothing for too long.
        """
        while not self.take_turn():
            self.wait_until_empty()
        try:
            self._send_all(data)
            self.bytes_sent += len(data)
        finally:
            self.end_turn()
        self._pump()

    def wait_for_answer(self, batch: Batch, within_s: float) -> bool:
        """Wait for the answer to a batch; return whether it is in time.

        Raises:
            OSError: the connection was ended meanwhile.
        """
        self._awaited = batch
        is_there = not self._has_ended and batch.wait(within_s)
        self._awaited = None
        self.check_ended()
        return is_there

    def is_reader_gone(self) -> bool:
        poll = select.poll()
        poll.register(self._socket, _GONE)
        return bool(poll.poll(0))

    def check_ended(self) -> None:
        """Raise OSError if this node has ended the connection."""
        if self._has_ended:
            raise ConnectionAbortedError

    # --- any thread ----------------------------------------------------------------------------

    def _pump(self) -> bool:
        """Send in this thread while the reader takes everything at once, otherwise in one that
        waits."""
        try:
            has_begun = super()._pump()
        except Exception as problem:  # an unreadable file, for example
            self._cut_off_by(problem)
            has_begun = True
        if has_begun:
            self._has_moved()
        return has_begun

    def flush(self) -> None:
        """Send the complete replies, up to the first request that has none yet."""
        with self._lock:
            if self._is_stuck or not self._sent_replies():
                return
        if self._has_waiter or self._tell is not None:
            self._has_moved()

    def break_off(self) -> None:
        """End the connection; see `ReplySink` and `Holder`. This also ends a thread that is sending
        on it."""
        super().break_off()
        self._moved.set()
        self._has_moved()

    def shut_down(self, how: int = socket.SHUT_RDWR) -> None:
        """Shut down the connection, or one direction of it, which ends all waits on it."""
        with self._lock:
            self._shut_down(how)

    def read_no_more(self) -> None:  # perhaps with the lock held
        self._shut_down(socket.SHUT_RD)

    def close(self) -> None:
        """End the connection, and close it once no thread uses it: the next connection may get the
        same descriptor."""
        self.break_off()
        with self._sending, self._lock:
            self._socket.close()

    # --- sending, with the lock held -------------------------------------------------------------

    def _send(self, data: bytes) -> int:
        try:
            sent = self._socket.send(data, socket.MSG_DONTWAIT) if data else 0
            self.bytes_sent += sent
            return sent
        except BlockingIOError:
            return 0
        except OSError:
            self._forget()
            return len(data)

    def _send_later(self, data: bytes) -> bool:
        """Start a thread that sends this and all that follows; return whether it started."""
        self._is_stuck = True
        try:
            begin_thread(lambda: self._drain(data), "slow reader", self._cut_off_by)
        except RuntimeError:  # no thread can be started
            self._cut_off()
            return False
        return True

    def _shut_down(self, how: int = socket.SHUT_RDWR) -> None:
        if how == socket.SHUT_RDWR:
            self._has_ended = True
            awaited = self._awaited
            if awaited is not None:
                awaited.stop_waiting()
        with contextlib.suppress(OSError):
            self._socket.shutdown(how)

    # --- the thread of a slow reader -------------------------------------------------------------

    def _drain(self, data: bytes) -> None:
        """Send to a slow reader until nothing is left; SO_SNDTIMEO bounds each wait."""
        room = self._host.reply_room
        try:
            if data:
                room.hold(self, len(data))
                room.relieve()
            while self._has_more(data):
                room.reserve(self, in_turn=self._is_ready())  # a backlog may wait for its disk
                data = self._next_to_drain()
                room.hold(self, len(data))
        except Exception as problem:
            self._cut_off_by(problem)
        room.give(self)
        self._moved.set()
        self._has_moved()

    def _cut_off_by(self, problem: Exception) -> None:
        """End only this connection; report the problem unless the reader has merely left."""
        with self._lock:
            self._cut_off()
        if not isinstance(problem, (OSError, MemoryError)):
            self._host.warn(f"replies can't be sent, and their connection ends: {problem!r}")

    def _has_more(self, data: bytes) -> bool:
        """Send a whole piece; return whether there is more to send."""
        if data:
            self._send_all(data)
            self._host.reply_room.give(self)
        with self._lock:
            return self._drained(len(data))

    def _send_all(self, data: bytes) -> None:
        with self._sending:
            self._socket.sendall(data)
