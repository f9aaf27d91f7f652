"""One TCP connection that sends and receives lines, each with a deadline.

It does not interpret the lines, and does not follow the leader: `conversation.py` does.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from ..common.address import Address
from ..wire.limits import REPLY_LINE_BYTES
from .dialing import NOBODY, dial

if TYPE_CHECKING:
    import ssl

TELNET_ANSWER = b"\xff\xfc\x06"  # a node's answer to "are you there"
LEAST_S = 1e-6  # a socket with timeout 0 does not block


class DialingTls(Protocol):
    """The TLS of a side that dials."""

    def context(self) -> ssl.SSLContext:
        """Return the context of the next connection."""

    def name_of(self, host: str) -> str:
        """Return the name that the certificate of the node at `host` must have."""


class ConnectionEnded(ConnectionError):
    """The other side ended the connection before a whole line arrived."""

    def __init__(self) -> None:
        super().__init__("closed the connection before it answered")


class TooLong(ConnectionError):
    """The line is longer than the caller accepts; the rest of the stream can't be read."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(f"answered with a line of more than {bytes_max} bytes")


def is_delivered(connection: socket.socket) -> bool:
    """Return whether the other side's kernel has acknowledged everything that was sent; False if
    that can't be known. A connection that a firewall dropped while it was idle delivers nothing."""
    try:
        import fcntl
        import termios

        unacknowledged = bytearray(4)
        fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, unacknowledged)
    except (ImportError, OSError, ValueError):
        return False
    return not any(unacknowledged)


class LineConnection:
    """A connection to one node, or to anything else that speaks lines."""

    _unsent = memoryview(b"")  # of lines that `read` sends
    is_whole = True  # no line was sent in part
    sent_s = 0.0  # when the last line was sent

    def __init__(
        self,
        port: int,
        timeout_s: float = 30.0,
        host: str = "localhost",
        tls: DialingTls | None = None,
        others: Iterator[Address] = NOBODY,
    ) -> None:
        """Connect; without `tls`, in plain text. While the node hangs, `others` are tried as well;
        `address` is the node that answered. Raises OSError if this takes longer than `timeout_s`,
        no program listens, or the TLS handshake fails."""
        until_s = time.monotonic() + timeout_s
        connection, self.address = dial(Address(host, port), timeout_s, others)
        if tls is not None:
            left_s = max(LEAST_S, until_s - time.monotonic())
            connection = _with_tls(connection, tls, self.address.host, left_s)
        self.socket = connection
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout_s = timeout_s
        self.received = bytearray()  # unread bytes

    def __enter__(self) -> LineConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, *lines: str | bytes) -> None:
        """Send these lines, each followed by a newline."""
        data = self._with_unsent(lines)
        self._unsent = memoryview(b"")
        self.socket.settimeout(self.timeout_s)
        self.is_whole, self.sent_s = False, time.monotonic()
        self.socket.sendall(data)
        self.is_whole = True

    def send_soon(self, *lines: str | bytes) -> None:
        """Send as much as possible without waiting; `read` sends the rest while it waits.

        A node stops reading while its replies are not read. A caller that sends much at once, and
        reads nothing meanwhile, would deadlock with it.
        """
        self._unsent = memoryview(self._with_unsent(lines))
        self.socket.settimeout(0)
        self._push()

    def _with_unsent(self, lines: Sequence[str | bytes]) -> bytes:
        raw = [
            each.encode("utf-8", "surrogateescape") if isinstance(each, str) else each
            for each in lines
        ]
        return bytes(self._unsent) + b"".join(line + b"\n" for line in raw)

    def _push(self) -> None:
        """Send as much as the kernel accepts now. The socket has the timeout 0."""
        with contextlib.suppress(BlockingIOError):
            while self._unsent:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]

    def read(self, until_s: float | None = None, bytes_max: int | None = None) -> bytes:
        """Return the next line without its newline. `until_s` is on the monotonic clock;
        `bytes_max` defaults to REPLY_LINE_BYTES.

        Raises:
            TimeoutError: no line arrived in time; a later line can still be read.
            ConnectionEnded: the other side ended the connection first.
            TooLong: the line is longer than `bytes_max`.
        """
        looked_at, limit = 0, REPLY_LINE_BYTES if bytes_max is None else bytes_max
        while (end := self.received.find(b"\n", looked_at)) < 0:
            looked_at = len(self.received)
            if looked_at > limit:
                raise TooLong(limit)
            if self._unsent:
                data = self._exchange(until_s)
            else:
                left_s = self.timeout_s if until_s is None else until_s - time.monotonic()
                self.socket.settimeout(max(left_s, LEAST_S))
                data = self.socket.recv(1 << 16)
            if not data:
                raise ConnectionEnded
            self.received += data
        line = bytes(self.received[:end])
        del self.received[: end + 1]
        return line

    def _exchange(self, until_s: float | None) -> bytes:
        """Return the next bytes; b"" at the end. Send unsent bytes meanwhile.

        Raises:
            TimeoutError: nothing arrived in time.
        """
        end_s = time.monotonic() + self.timeout_s if until_s is None else until_s
        self.socket.settimeout(0)
        while True:
            self._push()
            with contextlib.suppress(BlockingIOError):
                return self.socket.recv(1 << 16, socket.MSG_DONTWAIT)
            if (left_s := end_s - time.monotonic()) <= 0:
                raise TimeoutError("timed out")
            with selectors.DefaultSelector() as selector:
                writes = selectors.EVENT_WRITE if self._unsent else 0
                selector.register(self.socket, selectors.EVENT_READ | writes)
                selector.select(left_s)

    def read_line(self) -> str:
        """Return the next line as text, without the answer to telnet; "" at the end."""
        try:
            return self.read().replace(TELNET_ANSWER, b"").decode()
        except ConnectionEnded:
            rest, self.received = bytes(self.received), bytearray()
            return rest.replace(TELNET_ANSWER, b"").decode()

    def read_lines(self, count: int) -> list[str]:
        return [self.read_line() for _ in range(count)]

    def ask(self, line: str | bytes) -> str:
        """Send one line and return the line that answers it."""
        self.send(line)
        return self.read_line()

    def is_closed(self) -> bool:
        """Wait until the other side sends bytes or ends; return whether it ended."""
        if self.received:
            return False
        try:
            return self.socket.recv(1, socket.MSG_PEEK) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.close()


def ask(port: int, line: str | bytes, timeout_s: float = 30.0, host: str = "localhost") -> str:
    """Send a line on its own connection, and return the answer. Raises OSError."""
    with LineConnection(port, timeout_s, host) as connection:
        return connection.ask(line)


def _with_tls(
    connection: socket.socket, tls: DialingTls, host: str, limit_s: float
) -> socket.socket:
    """Return the connection with TLS. If it raises OSError, the connection is closed."""
    from ..access.tls_socket import TlsSocket

    return TlsSocket.dialed(connection, tls.context(), tls.name_of(host), limit_s)
