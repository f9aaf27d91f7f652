"""Lines out of a socket: all that have arrived at a time, bounded in length and in patience; and
the half lines of all clients together, bounded in bytes.

And the console's line about a connection, which one that only asks for `status` doesn't get.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence

from raftline.access.tls_socket import TlsSocket
from raftline.wire.limits import HALF_LINES_BYTES, READ_BYTES

DRAIN_S = 2.0  # for what is still on its way when a connection is of no more use
DRAIN_BYTES = 16 << 10  # at a time
SILENT_S = 0.2  # then it is printed, before anything is asked
LEAST_S = 0.001  # of a wait: the kernel takes 0 for no bound at all
BEGINNING_BYTES = 128  # of the first line; a name and `@status` are no longer


class LineTooLong(Exception):
    """A line went on beyond the limit, in bytes; nothing of it can be used."""

    def __init__(self, longest: int) -> None:
        super().__init__(longest)
        self.longest = longest


class HalfLine(Exception):
    """A line was begun and not ended in time."""


class Late(HalfLine):
    """Lines that were due did not come in time."""


class HalfLinesFull(Exception):
    """The half lines of all clients took too many bytes, and this one was among the oldest."""


class HalfLines:
    """The bytes of the half lines of all clients of a node, which are bounded together.

    If they are too many, the lines go that began first: one that is being sent ends soon, and
    one that is held up does not. What fits the buffer of its reader is not counted.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes: dict[LineReader, int] = {}  # in the order in which they began
        self.sum = 0

    def hold(self, reader: LineReader, size: int) -> None:
        """Note the bytes of a reader's half line. It may be the one that is given up."""
        given_up = []
        with self._lock:
            self.sum += size - self._bytes.get(reader, 0)
            self._bytes[reader] = size
            while self.sum > HALF_LINES_BYTES:
                oldest = next(iter(self._bytes))
                self.sum -= self._bytes.pop(oldest)
                given_up.append(oldest)
        for each in given_up:
            each.give_up()

    def let_go(self, reader: LineReader) -> None:
        """Forget the half line of a reader, if it has one."""
        with self._lock:
            self.sum -= self._bytes.pop(reader, 0)


class LineReader:
    """Reads lines with its own buffer, for one thread at a time: that of the connection, or
    the shared reader while that thread is parked.

    The socket's receive timeout must be set (`prepare`); a line that was begun has
    `patience_s` to end, while a silent connection may stay for ever.
    """

    def __init__(
        self,
        connection: socket.socket,
        buffer_bytes: int,
        patience_s: float,
        half_lines: HalfLines | None = None,
    ) -> None:
        """Prepare; with `half_lines` what this one keeps counts among those of all clients."""
        self._connection = connection
        self._half_lines = half_lines
        self._is_given_up = False  # by `half_lines`
        self._tls = connection if isinstance(connection, TlsSocket) else None
        self._buffer = memoryview(bytearray(buffer_bytes))
        self._begun = bytearray()  # of the line that has begun; pieces of a byte take no more
        self._patience_s = patience_s
        self._begun_s = 0.0
        self.bytes_read = 0
        self._due_s = 0.0  # when all that is due must have come; 0: nothing is

    def read(self, longest: Callable[[bytes], int]) -> list[bytes] | None:
        """Return the lines that have arrived, without their newlines; None at the end.

        `longest(beginning)` returns how many bytes a line that begins so may have.

        Raises:
            LineTooLong: a line is longer than that.
            HalfLinesFull: all clients together have begun too many bytes of lines.
            HalfLine: a line was begun `patience_s` ago and has not ended; or, as `Late`, lines that
                were due have not come.
            OSError: the connection broke.
        """
        if self._begun:  # by a limit that what came before it may have changed
            self._check_length(longest)
        while True:
            if self._due_s:  # all of it: not so long for each piece
                left_s = max(LEAST_S, self._due_s - time.monotonic())
                set_timeout(self._connection, socket.SO_RCVTIMEO, left_s)
            try:
                size = self._connection.recv_into(self._buffer)
            except BlockingIOError:  # the receive timeout
                self._check_patience()
                continue
            if size == 0:
                self._check_given_up()
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
        """Give the other side so long for all that it has to send first; None: for ever."""
        self._due_s = 0.0 if seconds is None else time.monotonic() + seconds
        set_timeout(self._connection, socket.SO_RCVTIMEO, seconds or self._patience_s)

    @property
    def has_begun(self) -> bool:
        """Whether the beginning of a line was read, and not its end."""
        return bool(self._begun)

    def count_no_more(self) -> None:
        """Count half lines no more among those of all clients: a member sends them, whose lines
        have a limit of their own."""
        if self._half_lines is not None:
            self._half_lines.let_go(self)
            self._half_lines = None

    def forget(self) -> None:
        """Give the memory of a half line back, since nobody reads any more."""
        self._begun = bytearray()
        if self._half_lines is not None:
            self._half_lines.let_go(self)

    def give_up(self) -> None:
        """Have the thread that reads here give up the line that has begun; from any thread."""
        self._is_given_up = True
        with contextlib.suppress(OSError):  # it waits in the kernel, for example
            self._connection.shutdown(socket.SHUT_RD)

    def _split(self, size: int, longest: Callable[[bytes], int]) -> list[bytes]:
        """Return the lines that end in what was read; keep the rest."""
        self.bytes_read += size
        if self._due_s:
            self._check_patience()
        lines = bytes(self._buffer[:size]).split(b"\n")
        rest = lines.pop()
        if lines and self._begun:
            lines[0] = self._ended(lines[0], longest)
        if rest:
            self._keep(rest)
            if not lines:
                self._check_length(longest)
        return lines

    def _ended(self, data: bytes, longest: Callable[[bytes], int]) -> bytes:
        """Return the line that has begun, whose end came."""
        self._begun += data
        self._check_length(longest)
        line = bytes(self._begun)
        self.forget()
        return line

    def _keep(self, data: bytes) -> None:
        if not self._begun:
            self._begun_s = time.monotonic()
        self._begun += data
        if self._half_lines is not None and len(self._begun) > READ_BYTES:
            self._half_lines.hold(self, len(self._begun))
            self._check_given_up()
        self._check_patience()

    def _check_length(self, longest: Callable[[bytes], int]) -> None:
        limit = longest(bytes(self._begun[:80]))
        if len(self._begun) > limit:
            raise LineTooLong(limit)

    def _check_given_up(self) -> None:
        if self._is_given_up:
            raise HalfLinesFull

    def _check_patience(self) -> None:
        if self._due_s and time.monotonic() > self._due_s:
            raise Late
        if self._begun and time.monotonic() - self._begun_s > self._patience_s:
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


class ConnectionNotice:
    """Prints once that a connection has come; for the thread that serves it.

    `raftline status` makes a connection to each node, `--watch` and `up` do so again and again.
    """

    def __init__(self, say: Callable[[], None]) -> None:
        self._say = say
        self._is_said = False

    def peek(self, connection: socket.socket) -> None:
        """Print it of a connection that is silent, at its end, or begins with another line.

        Raises:
            OSError: the connection broke.
        """
        waiting = select.poll()  # select() takes no descriptor above 1023
        waiting.register(connection, select.POLLIN)
        if waiting.poll(SILENT_S * 1000):
            begun = connection.recv(BEGINNING_BYTES, socket.MSG_PEEK)
            if begun and all(map(_asks_status, begun.splitlines())):
                return
        self._print()

    def first_lines(self, lines: Sequence[bytes]) -> None:
        """Print it before the first lines that ask for something else."""
        if not self._is_said and not all(map(_asks_status, lines)):
            self._print()

    def _print(self) -> None:
        self._is_said = True
        self._say()


def _asks_status(line: bytes) -> bool:
    return line.rpartition(b"@")[2].strip() == b"status"
