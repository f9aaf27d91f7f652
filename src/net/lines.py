"""Lines out of bytes, bounded in bytes and time; and bytes out of a socket, with bounds in the
kernel for each wait.

`LineBuffer` has no socket: the bytes and the time are handed in.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Final

from ..access.tls_socket import TlsSocket
from ..wire.limits import (
    BUFFER_BYTES,
    HALF_LINES_BYTES,
    LONG_READ_BYTES,
    LONG_READS,
    READ_BYTES,
)


class HalfLine(Exception):
    """A line was begun and not ended in time."""


class Late(HalfLine):
    """Lines that were due did not come in time."""


class HalfLines:
    """The bytes of the half lines of all clients of a node, which are bounded together.

    If they are too many, the lines go that began first: one that is being sent ends soon, and
    one that is held up does not. What fits a buffer is not counted.
    """

    def __init__(self, bytes_max: int = HALF_LINES_BYTES) -> None:
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._bytes: dict[LineBuffer, int] = {}  # in the order in which they began
        self.sum = 0
        self.turn = threading.Lock()  # of who reads the meaning of a long line, which takes memory

    def hold(self, lines: LineBuffer, size: int) -> None:
        """Note the bytes of a half line. It may be the one that is given up."""
        given_up = []
        with self._lock:
            self.sum += size - self._bytes.get(lines, 0)
            self._bytes[lines] = size
            while self.sum > self._bytes_max:
                oldest = next(iter(self._bytes))
                self.sum -= self._bytes.pop(oldest)
                given_up.append(oldest)
        for each in given_up:
            each.give_up()

    def let_go(self, lines: LineBuffer) -> None:
        """Forget a half line, if it is there."""
        with self._lock:
            self.sum -= self._bytes.pop(lines, 0)


class LineBuffer:
    """The lines of one connection, and the one that has begun, which has `patience_s` to end. For
    one thread at a time. A silent connection may stay for ever."""

    def __init__(
        self,
        patience_s: float,
        half_lines: HalfLines | None = None,
        on_given_up: Callable[[], None] = lambda: None,
    ) -> None:
        """With `half_lines` what is kept here counts among those of all clients. `on_given_up` is
        called by any thread."""
        self._patience_s = patience_s
        self._half_lines = half_lines
        self._on_given_up = on_given_up
        self.turn = half_lines.turn if half_lines is not None else threading.Lock()
        self.is_given_up = False  # by `half_lines`
        self.begun = bytearray()  # of the line that has begun; pieces of a byte take no more
        self._more: list[bytes] = []  # what follows in a long one: to grow a text copies it
        self.size = 0  # of all of the line that has begun, in bytes
        self.is_amid_long = False  # it is longer than what is read at a time
        self._begun_s = 0.0
        self.due_s = 0.0  # when all that is due must have come; 0: nothing is

    def feed(self, data: bytes, now_s: float) -> list[bytes]:
        """Return the lines that end in these bytes, without their newlines; keep the rest.

        Raises:
            HalfLine: as `check_time`.
        """
        if self.due_s:
            self.check_time(now_s)
        end = data.find(b"\n")
        if end < 0:
            self._keep(data, now_s)
            return []
        if data.find(b"\n", end + 1) < 0:  # `split` looks at each byte by itself
            lines, rest = [data[:end]], data[end + 1 :]
        else:
            lines = data.split(b"\n")
            rest = lines.pop()
        if lines and self.begun:
            lines[0] = b"".join([self.begun, *self._more, lines[0]])
            self.forget()
        if rest:
            self._keep(rest, now_s)
        return lines

    def _keep(self, data: bytes, now_s: float) -> None:
        if not self.begun:
            self._begun_s = now_s
        if not self.is_amid_long:
            self.begun += data
        elif self._more and len(self._more[-1]) < BUFFER_BYTES:  # no object for each byte
            self._more[-1] += data
        else:
            self._more.append(data)
        self.size += len(data)
        self.is_amid_long = self.size >= READ_BYTES
        if self._half_lines is not None and self.size > BUFFER_BYTES:
            self._half_lines.hold(self, self.size)
        self.check_time(now_s)

    def check_time(self, now_s: float) -> None:
        """Look whether anything is late.

        Raises:
            HalfLine: a line was begun `patience_s` ago and has not ended; or, as `Late`, lines that
                were due have not come.
        """
        if self.due_s and now_s > self.due_s:
            raise Late
        if self.begun and now_s - self._begun_s > self._patience_s:
            raise HalfLine

    def count_no_more(self) -> None:
        """Count half lines no more among those of all clients: a member sends them, whose lines
        have a limit of their own."""
        if self._half_lines is not None:
            self._half_lines.let_go(self)
            self._half_lines = None

    def forget(self) -> None:
        """Give the memory of a half line back."""
        self.begun = bytearray()
        self._more, self.size, self.is_amid_long = [], 0, False
        if self._half_lines is not None:
            self._half_lines.let_go(self)

    def give_up(self) -> None:
        """Have whoever reads here give up the line that has begun; from any thread."""
        self.is_given_up = True
        self._on_given_up()


DRAIN_S = 2.0  # for what is still on its way when a connection is of no more use
DRAIN_BYTES = 16 << 10  # at a time
LEAST_S = 0.001  # of a wait: the kernel takes 0 for no bound at all
# Of the whole node: threads that have read much all wait for the interpreter with it. Each of them
# takes one of these meanwhile, by one call.
long_reads: Final = [None] * LONG_READS


class LineTooLong(Exception):
    """A line went on beyond the limit, in bytes; nothing of it can be used."""


class Receiver:
    """The bytes of a socket, for one thread at a time: that of the connection, or the shared
    reader while that thread is parked. `patience_s` bounds each wait; see `prepare`.

    Whoever waits keeps a buffer for a usual request alone. What has come beyond it is read into
    memory that nobody keeps.
    """

    def __init__(self, connection: socket.socket, patience_s: float) -> None:
        self._connection = connection
        self._tls = connection if isinstance(connection, TlsSocket) else None
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._patience_s = patience_s
        self._is_bounded = False  # by another time than `patience_s`
        self.bytes_read = 0

    def release(self) -> None:
        """Give the buffer back: nothing is read any more."""
        self._buffer = memoryview(b"")

    def receive(self, due_s: float = 0.0, *, is_amid_long: bool = False) -> bytes | None:
        """Wait for bytes; return b"" at the end, None if none came within the patience, or up to
        `due_s` of time.monotonic unless that is 0. Amid a long line those that are here are taken
        by larger pieces.

        Raises:
            OSError: the connection broke.
        """
        if is_amid_long and (data := self._receive_much()) is not None:
            return data
        if due_s or self._is_bounded:
            left_s = max(LEAST_S, due_s - time.monotonic()) if due_s else self._patience_s
            set_timeout(self._connection, socket.SO_RCVTIMEO, left_s)
            self._is_bounded = due_s > 0
        try:
            size = self._connection.recv_into(self._buffer)
        except BlockingIOError:  # the receive timeout
            return None
        data = bytes(self._buffer[:size])
        if size == BUFFER_BYTES:
            data += self._rest()
        self.bytes_read += len(data)
        return data

    def _rest(self) -> bytes:
        """Return what else is here after a full buffer, up to READ_BYTES with it."""
        try:
            return self._connection.recv(READ_BYTES - BUFFER_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""

    def _receive_much(self) -> bytes | None:
        """Return the bytes that are here, up to the end of their line: b"" at the end, None if
        there are none, if TLS has them, or if enough threads do so. Never waits, so nobody keeps
        the memory for them.

        A value of 1 MiB by pieces of the buffer would be 64 turns of the interpreter. What follows
        the line may be as many short ones, which would take many times their bytes: a reader that
        takes no replies has few of these.
        """
        if self._tls is not None:
            return None
        try:
            long_reads.pop()
        except IndexError:
            return None
        try:
            ahead = self._connection.recv(LONG_READ_BYTES, socket.MSG_DONTWAIT | socket.MSG_PEEK)
            size = ahead.find(b"\n") + 1 or len(ahead)
            del ahead
            data = self._connection.recv(size, socket.MSG_DONTWAIT) if size else b""
        except BlockingIOError:
            return None
        finally:
            long_reads.append(None)
        self.bytes_read += len(data)
        return data

    def receive_now(self) -> bytes | None:
        """Return the bytes that are here: b"" at the end, None if there are none. Never waits.

        It asks the kernel once, and once more if the buffer is full. Under TLS, whose small records
        nobody is woken for, there are as many bytes as `TlsSocket.take` gives at most.

        Raises:
            OSError: the connection broke.
        """
        try:
            size = self._connection.recv_into(self._buffer, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        data, tls = bytes(self._buffer[:size]), self._tls
        if size == BUFFER_BYTES and tls is None:
            data += self._rest()
        while size and tls is not None and (size := tls.take(self._buffer)):
            data += self._buffer[:size]
        self.bytes_read += len(data)
        return data


class LineReader(Receiver):
    """Reads lines on a connection that this node made. One that was begun has `patience_s` to
    end."""

    def __init__(self, connection: socket.socket, patience_s: float) -> None:
        super().__init__(connection, patience_s)
        self._lines = LineBuffer(patience_s)

    def read(self, longest: int) -> list[bytes] | None:
        """Return the lines that have arrived, without their newlines; None at the end.

        Raises:
            LineTooLong: a line of several pieces has more bytes than `longest`.
            HalfLine: as `LineBuffer.check_time`.
            OSError: the connection broke.
        """
        lines = self._lines
        while True:
            data = self.receive(lines.due_s, is_amid_long=lines.is_amid_long)
            if data is None:
                lines.check_time(time.monotonic())
                continue
            if not data:
                return None
            whole = lines.feed(data, time.monotonic())
            if (len(whole[0]) if whole else lines.size) > longest:
                raise LineTooLong
            if whole:
                return whole

    def limit(self, seconds: float | None) -> None:
        """Give the other side so long for all that it has to send first; None: for ever."""
        self._lines.due_s = 0.0 if seconds is None else time.monotonic() + seconds

    @property
    def has_begun(self) -> bool:
        """Whether the beginning of a line was read, and not its end."""
        return bool(self._lines.begun)


def prepare(connection: socket.socket, patience_s: float) -> None:
    """Make a connection prompt and mortal: no delay of small writes, and no wait without end.

    Without TCP_NODELAY a small write may stall for 40 ms. The kernel's own timeouts cost
    nothing, where Python's would add a poll to each call.
    """
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    set_timeout(connection, socket.SO_RCVTIMEO, patience_s)
    set_timeout(connection, socket.SO_SNDTIMEO, patience_s)
    user_timeout = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux: a peer that vanished
    if user_timeout is not None:
        connection.setsockopt(socket.IPPROTO_TCP, user_timeout, int(patience_s * 1000))


def set_timeout(connection: socket.socket, which: int, seconds: float) -> None:
    """Bound each wait of one kind in the kernel."""
    timeout = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    connection.setsockopt(socket.SOL_SOCKET, which, timeout)


def drain(connection: socket.socket) -> None:
    """Throw away what is still being sent, for a while, so that the last reply arrives.

    To close a socket with bytes unread resets it, and a reset takes away what the other side
    has not read yet.
    """
    end_s = time.monotonic() + DRAIN_S
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(DRAIN_S)
        while time.monotonic() < end_s and connection.recv(DRAIN_BYTES):
            pass
