"""Lines out of a socket: all that have arrived at a time, bounded in length and in patience.

And the console's line about a connection, which one that only asks for `status` doesn't get.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence

from raftline.access.tls_socket import TlsSocket

DRAIN_S = 2.0  # for what is still on its way when a connection is of no more use
DRAIN_BYTES = 16 << 10  # at a time
SILENT_S = 0.2  # then it is said, before anything is asked
BEGINNING_BYTES = 128  # of the first line; a name and `@status` are no longer


class LineTooLong(Exception):
    """A line went on beyond the limit; nothing of it can be used."""


class HalfLine(Exception):
    """A line was begun and not ended in time."""


class Late(HalfLine):
    """Lines that were due did not come in time."""


class LineReader:
    """Reads lines with a buffer of its own, for one thread at a time: that of the connection, or
    the shared reader while that thread is parked.

    The socket's receive timeout must be set (`prepare`); a line that was begun has
    `patience_s` to end, while a silent connection may stay for ever.
    """

    def __init__(self, connection: socket.socket, buffer_bytes: int, patience_s: float) -> None:
        self._connection = connection
        self._tls = connection if isinstance(connection, TlsSocket) else None
        self._buffer = memoryview(bytearray(buffer_bytes))
        self._parts: list[bytes] = []  # of the line that has begun
        self._size = 0
        self._patience_s = patience_s
        self._begun_s = 0.0
        self.bytes_read = 0
        self._due_s = 0.0  # when all that is due must have come; 0: nothing is

    def read(self, longest: Callable[[bytes], int]) -> list[bytes] | None:
        """Return the lines that have arrived, without their newlines; None at the end.

        `longest(beginning)` says how many bytes a line that begins so may have.

        Raises:
            LineTooLong: a line is longer than that.
            HalfLine: a line was begun `patience_s` ago and has not ended; or, as `Late`, lines that
                were due have not come.
            OSError: the connection broke.
        """
        while True:
            try:
                size = self._connection.recv_into(self._buffer)
            except BlockingIOError:  # the receive timeout
                self._check_patience()
                continue
            if size == 0:
                return None
            if lines := self._split(size, longest):
                return lines

    def read_now(self, longest: Callable[[bytes], int]) -> list[bytes] | None:
        """Return the lines that are here, and [] if there is none; None at the end. Never waits.

        It asks the kernel once. So there are as many bytes as the buffer has; under TLS, whose
        small records nobody is woken for, as many as `TlsSocket.take` gives at most.

        Raises:
            LineTooLong, HalfLine, OSError: as `read`.
        """
        try:
            size = self._connection.recv_into(self._buffer, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        if size == 0:
            return None
        lines, tls = self._split(size, longest), self._tls
        while tls is not None and (size := tls.take(self._buffer)):
            lines += self._split(size, longest)
        return lines

    @property
    def has_more(self) -> bool:
        """Whether something is here that the kernel wakes nobody for; never so without TLS."""
        return self._tls is not None and self._tls.has_more

    def limit(self, seconds: float | None) -> None:
        """Give the other side so long for all that it has to say first; None: for ever."""
        self._due_s = 0.0 if seconds is None else time.monotonic() + seconds
        set_timeout(self._connection, socket.SO_RCVTIMEO, seconds or self._patience_s)

    @property
    def has_begun(self) -> bool:
        """Whether the beginning of a line was read, and not its end."""
        return bool(self._parts)

    def _split(self, size: int, longest: Callable[[bytes], int]) -> list[bytes]:
        """Return the lines that end in what was read; keep the rest."""
        self.bytes_read += size
        if self._due_s:
            self._check_patience()
        lines = bytes(self._buffer[:size]).split(b"\n")
        rest = lines.pop()
        if lines and self._parts:
            lines[0] = b"".join([*self._parts, lines[0]])
            self._parts.clear()
            self._size = 0
            if len(lines[0]) > longest(lines[0][:80]):
                raise LineTooLong
        if rest:
            self._keep(rest, longest)
        return lines

    def _keep(self, data: bytes, longest: Callable[[bytes], int]) -> None:
        if not self._parts:
            self._begun_s = time.monotonic()
        self._parts.append(data)
        self._size += len(data)
        if self._size > longest(self._parts[0][:80]):
            raise LineTooLong
        self._check_patience()

    def _check_patience(self) -> None:
        if self._due_s and time.monotonic() > self._due_s:
            raise Late
        if self._parts and time.monotonic() - self._begun_s > self._patience_s:
            raise HalfLine


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


class Arrival:
    """Says once that a connection has come; for the thread that serves it.

    `raftline status` makes a connection to each node, `--watch` and `up` do so again and again.
    """

    def __init__(self, say: Callable[[], None]) -> None:
        self._say = say
        self._is_said = False

    def look(self, connection: socket.socket) -> None:
        """Say it of a connection that is silent, at its end, or begins with another line.

        Raises:
            OSError: the connection broke.
        """
        waiting = select.poll()  # select() takes no descriptor above 1023
        waiting.register(connection, select.POLLIN)
        if waiting.poll(SILENT_S * 1000):
            begun = connection.recv(BEGINNING_BYTES, socket.MSG_PEEK)
            if begun and all(map(_asks_status, begun.splitlines())):
                return
        self._tell()

    def heard(self, lines: Sequence[bytes]) -> None:
        """Say it before the first lines that ask for something else."""
        if not self._is_said and not all(map(_asks_status, lines)):
            self._tell()

    def _tell(self) -> None:
        self._is_said = True
        self._say()


def _asks_status(line: bytes) -> bool:
    return line.rpartition(b"@")[2].strip() == b"status"
