"""One client's connection to one server: lines out, lines in, told apart by their Message-ID."""

from __future__ import annotations

import contextlib
import socket
import time

from raftline.wire.protocol import ProtocolError, split_sender

CONNECT_SECONDS_MAX = 1.0


class Wire:
    """A connection that stays in use also after a request on it went unanswered."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS_MAX)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()

    def send(self, line: str) -> None:
        """Send one line. Raises OSError."""
        self._socket.settimeout(CONNECT_SECONDS_MAX)
        self._socket.sendall(line.encode("utf-8", "surrogateescape") + b"\n")

    def read(self, until_s: float) -> tuple[str, str] | None:
        """Return (Message-ID, text) of the next line, or None where none came by `until_s`.

        Raises:
            OSError: the server has gone, or speaks nonsense.
        """
        while b"\n" not in self._received:
            left_s = until_s - time.monotonic()
            self._socket.settimeout(max(left_s, 0.0) or 1e-6)
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                return None
            if not data:
                raise ConnectionResetError("closed the connection before it answered")
            self._received += data
        raw, _, rest = bytes(self._received).partition(b"\n")
        self._received = bytearray(rest)
        try:
            _, number, text = split_sender(raw.decode("utf-8", "surrogateescape"))
        except ProtocolError as error:
            raise ConnectionError(f"answered something that is not raftline: {error}") from error
        return number, text

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()
