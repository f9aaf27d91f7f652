"""Lines from bytes, bounded in size and time; and bytes from a socket, with each wait bounded in
the kernel.

`LineBuffer` has no socket: the caller passes the bytes and the time.
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
    """A line began and did not end in time."""


class Late(HalfLine):
    """Lines that were due did not arrive in time."""


class HalfLines:
    """The bytes of the partial lines of all clients of a node, and of their transactions that have
    not ended (`MULTI`), which have a common bound.

    Beyond the bound, the lines that began first are given up: an active sender ends its line soon,
    a stalled one does not. Bytes that fit the buffer of a connection are not counted.
    """

    def __init__(self, bytes_max: int = HALF_LINES_BYTES) -> None:
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._bytes: dict[LineBuffer, int] = {}  # in the order of their beginnings
        self.sum = 0
        self.turn = threading.Lock()  # held to parse a long line, which takes memory

    def hold(self, lines: LineBuffer, size: int) -> None:
        """Note the bytes of a partial line. This may give up the line itself."""
        victims = []
        with self._lock:
            self.sum += size - self._bytes.get(lines, 0)
            self._bytes[lines] = size
            while self.sum > self._bytes_max:
                oldest = next(iter(self._bytes))
                self.sum -= self._bytes.pop(oldest)
                victims.append(oldest)
        for each in victims:
            each.give_up()

    def release(self, lines: LineBuffer) -> None:
        """Forget a partial line, if it is counted."""
        with self._lock:
            self.sum -= self._bytes.pop(lines, 0)


class LineBuffer:
    """The lines of one connection, and the partial line at the end, which has `patience_s` to be
    completed. Only one thread at a time may call. A silent connection may stay forever."""

    def __init__(
        self,
        patience_s: float,
        half_lines: HalfLines | None = None,
        on_given_up: Callable[[], None] = lambda: None,
    ) -> None:
        """With `half_lines`, a partial line here counts towards the common bound. `on_given_up` may
        be called in any thread."""
        self._patience_s = patience_s
        self._half_lines = half_lines
        self._on_given_up = on_given_up
        self.turn = half_lines.turn if half_lines is not None else threading.Lock()
        self.is_given_up = False  # by `half_lines`
        self.begun = bytearray()  # the start of the partial line; it may grow byte by byte
        self._more: list[bytes] = []  # the rest of a long partial line, since growing copies it
        self.size = 0  # of the whole partial line, in bytes
        self._beside = 0  # bytes of a transaction that has not ended, counted with the line
        self.is_amid_long = False  # the partial line is longer than one read
        self.begun_s = 0.0  # the time of its first bytes
        self.due_s = 0.0  # the time at which lines are due; 0: none are

    def feed(self, data: bytes, now_s: float) -> list[bytes]:
        """Return the lines that end in these bytes, without their newlines; keep the rest.

        Raises:
            HalfLine: see `check_time`.
        """
        if self.due_s:
            self.check_time(now_s)
        end = data.find(b"\n")
        if end < 0:
            self.keep(data, now_s)
            return []
        if data.find(b"\n", end + 1) < 0:  # faster than `split`, which checks byte by byte
            lines, rest = [data[:end]], data[end + 1 :]
        else:
            lines = data.split(b"\n")
            rest = lines.pop()
        if lines and self.begun:
            lines[0] = self.take_begun(lines[0])
        if rest:
            self.keep(rest, now_s)
        return lines

    def keep(self, data: bytes, now_s: float, since_s: float | None = None) -> None:
        """Add bytes to the partial line, which began now or, if it was taken and is put back, at
        `since_s`.

        Raises:
            HalfLine: see `check_time`.
        """
        if not self.begun:
            self.begun_s = now_s if since_s is None else since_s
        if not self.is_amid_long:
            self.begun += data
        elif self._more and len(self._more[-1]) < BUFFER_BYTES:  # avoid an object for each byte
            self._more[-1] += data
        else:
            self._more.append(data)
        self.size += len(data)
        self.is_amid_long = self.size >= READ_BYTES
        if self.size + self._beside > BUFFER_BYTES:
            self._count()
        self.check_time(now_s)

    def take_begun(self, rest: bytes) -> bytes:
        """Return the partial line with the rest of it, and forget it."""
        whole = b"".join([self.begun, *self._more, rest])
        self.forget()
        return whole

    def check_time(self, now_s: float) -> None:
        """Check whether a line is late.

        Raises:
            HalfLine: a line began `patience_s` ago and has not ended.
            Late: lines that were due have not arrived.
        """
        if self.due_s and now_s > self.due_s:
            raise Late
        if self.begun and now_s - self.begun_s > self._patience_s:
            raise HalfLine

    def count_no_more(self) -> None:
        """Stop counting the partial lines here towards the bound of the clients: the sender is a
        member, whose lines have their own limit."""
        if self._half_lines is not None:
            self._half_lines.release(self)
            self._half_lines = None

    def forget(self) -> None:
        """Free the memory of a partial line."""
        self.begun = bytearray()
        self._more, self.size, self.is_amid_long = [], 0, False
        self._count()

    def count_beside(self, size: int) -> None:
        """Count the bytes of a transaction that was begun here and has not ended, as if they were
        part of the partial line."""
        if size != self._beside:
            self._beside = size
            self._count()

    def _count(self) -> None:
        size, half_lines = self.size + self._beside, self._half_lines
        if half_lines is None:
            return
        if size > BUFFER_BYTES and not self.is_given_up:
            half_lines.hold(self, size)
        else:
            half_lines.release(self)

    def give_up(self) -> None:
        """Tell the reading thread to give up the partial line; any thread may call this."""
        self.is_given_up = True
        self._on_given_up()


DRAIN_S = 2.0  # for bytes that are still arriving at the end of a connection
DRAIN_BYTES = 16 << 10  # at a time
LEAST_S = 0.001  # the shortest wait: for the kernel, 0 means no bound
# Tokens of the whole node. A thread that does a long read holds one, as it keeps the bytes while it
# waits for the interpreter. One atomic call takes a token.
long_reads: Final = [None] * LONG_READS


class LineTooLong(Exception):
    """A line exceeds the limit, in bytes; it can't be used."""


class Receiver:
    """The bytes of a socket, for one thread at a time: the connection's thread, or the shared
    reader while that thread is parked. `patience_s` bounds each wait; see `prepare`.

    While it waits, a connection keeps only a buffer for a usual request. Bytes beyond that are read
    into temporary memory.
    """

    def __init__(self, connection: socket.socket, patience_s: float) -> None:
        self._connection = connection
        self._tls = connection if isinstance(connection, TlsSocket) else None
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._patience_s = patience_s
        self._is_bounded = False  # waits have another bound than `patience_s`
        self.bytes_read = 0

    def release(self) -> None:
        """Free the buffer after the last read."""
        self._buffer = memoryview(b"")

    def receive(self, due_s: float = 0.0, *, is_amid_long: bool = False) -> bytes | None:
        """Wait for bytes; return b"" at the end, and None if none arrive within `patience_s` or,
        unless it is 0, until `due_s` of time.monotonic. Within a long line, available bytes are
        read in larger pieces.

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
        """Return the available bytes after a full buffer, up to READ_BYTES in all."""
        try:
            return self._connection.recv(READ_BYTES - BUFFER_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""

    def _receive_much(self) -> bytes | None:
        """Return the available bytes up to the end of their line, b"" at the end of the stream.

        Return None if there are none, if TLS has them, or if enough threads do long reads already.
        Never wait, so no idle connection keeps such memory.

        A value of 1 MiB, read in pieces of the buffer, would take 64 turns of the interpreter. The
        bytes after the line may be many short lines, whose objects take much more memory than their
        bytes. A client that reads no replies must not have many of these, so those bytes are not
        read yet.
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
        """Return the available bytes: b"" at the end, None if there are none. Never wait.

        This calls the kernel once, and once more if the buffer is full. With TLS it also takes the
        buffered records, which wake no thread, as far as `TlsSocket.take` returns them.

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
    """Reads lines on a connection that this node made. A partial line has `patience_s` to be
    completed."""

    def __init__(self, connection: socket.socket, patience_s: float) -> None:
        super().__init__(connection, patience_s)
        self._lines = LineBuffer(patience_s)

    def read(self, longest: int) -> list[bytes] | None:
        """Return the lines that have arrived, without their newlines; None at the end.

        Raises:
            LineTooLong: a line of several pieces has more bytes than `longest`.
            HalfLine: see `LineBuffer.check_time`.
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
        """Bound the time for the first lines of the other side; None means no bound."""
        self._lines.due_s = 0.0 if seconds is None else time.monotonic() + seconds

    @property
    def has_begun(self) -> bool:
        """Whether the beginning of a line was read, but not its end."""
        return bool(self._lines.begun)


def prepare(connection: socket.socket, patience_s: float) -> None:
    """Set the options of a connection: send small writes without delay, and bound each wait.

    Without TCP_NODELAY a small write may stall for 40 ms. The kernel's own timeouts cost nothing,
    while Python's would add a poll to each call.
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
    """Discard incoming bytes for a while, so that the last reply arrives.

    Closing a socket with unread bytes resets the connection, and a reset discards the bytes that
    the other side has not read yet.
    """
    end_s = time.monotonic() + DRAIN_S
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(DRAIN_S)
        while time.monotonic() < end_s and connection.recv(DRAIN_BYTES):
            pass
