"""A TLS connection with the standard library that can still send without waiting.

One thread must not read an `ssl.SSLSocket` while another writes, and it takes no MSG_DONTWAIT. So
here the TLS state lies between two buffers. One lock guards it, and no thread holds that lock while
it waits for the network.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import ssl
import threading
import time
from typing import Any

from ..wire.limits import TLS_ANSWERS_BYTES, TLS_HANDSHAKE_BYTES, TLS_RECORD_S

RAW_BYTES = 32 << 10  # read from the network at a time
WAITED_BYTES = 4 << 10  # a buffer of this size is kept for a read that waits
HEADER_BYTES = 5  # of a TLS record: its type, a version, its length in two bytes
PIECE_BYTES = 256 << 10  # encrypted at a time


class TlsSocket(socket.socket):
    """A socket that is plain until `begin`. It replaces the socket that it is made from.

    If the kernel does not take all bytes of a `send`, the call returns one byte less, and owes that
    byte: the caller sends it again with the rest, as with a plain socket, and then it is skipped.
    """

    def __init__(self, connection: socket.socket) -> None:
        timeout_s = connection.gettimeout()
        super().__init__(fileno=connection.detach())
        self.settimeout(timeout_s)
        self._tls: ssl.SSLObject | None = None
        self.context: ssl.SSLContext | None = None  # of the handshake
        self.peer: dict[str, object] = {}  # the other side's verified certificate, if any
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._state = threading.Lock()  # guards these three
        self._sending = threading.Lock()  # one thread sends at a time; guards the next field, too
        self._unsent = memoryview(b"")  # encrypted, but not taken by the kernel
        self._owes = False
        self._header = b""  # bytes received of the next record's header
        self._lacking = 0  # bytes of the record after its header
        self._record_s = 0.0  # when an unfinished record began
        self._peeked = b""  # decrypted and peeked at, but not read
        self._has_ended = False  # the other side announced the end

    def close(self) -> None:
        """Close the connection and release the TLS state. Garbage that is not collected yet may
        still refer to a closed connection, and the collector does not count OpenSSL's memory."""
        super().close()
        with self._state:
            self._tls, self.peer = None, {}
            self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._unsent, self._peeked = memoryview(b""), b""

    @property
    def is_tls(self) -> bool:
        return self._tls is not None

    def begin(
        self, context: ssl.SSLContext, *, server_side: bool, limit_s: float, name: str | None = None
    ) -> None:
        """Do the handshake. The other side's certificate must be for `name`.

        Raises:
            OSError: the other side does not speak TLS, shows no valid certificate, is too slow, or
                sends too much: OpenSSL keeps twice the bytes of an endless message.
        """
        tls = context.wrap_bio(
            self._arrived, self._leaving, server_side=server_side, server_hostname=name
        )
        end_s = time.monotonic() + limit_s
        waiting = select.poll()
        waiting.register(self, select.POLLIN)
        room = TLS_HANDSHAKE_BYTES
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                super().sendall(self._leaving.read())
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    super().sendall(self._leaving.read())  # the reason, for the other side
                raise
            left_s = end_s - time.monotonic()
            if left_s <= 0 or not waiting.poll(left_s * 1000):
                raise TimeoutError("the handshake took too long")
            if not room:
                raise ConnectionAbortedError("its handshake has too many bytes")
            data = super().recv(min(room, RAW_BYTES))
            if not data:
                raise ConnectionResetError("it hung up during the handshake")
            room -= len(data)
            self._arrive(data)
        super().sendall(self._leaving.read())
        self.context = context
        self.peer = dict(tls.getpeercert() or {})  # OpenSSL returns none after the connection broke
        self._tls = tls

    @classmethod
    def dialed(
        cls, connection: socket.socket, context: ssl.SSLContext, name: str, limit_s: float
    ) -> TlsSocket:
        """Return an outgoing connection after its handshake. If that fails, the connection is
        closed.

        Raises:
            OSError: see `begin`.
        """
        tls_socket = cls(connection)
        try:
            tls_socket.begin(context, server_side=False, limit_s=limit_s, name=name)
        except BaseException:
            tls_socket.close()
            raise
        return tls_socket

    @property
    def has_more(self) -> bool:
        """Whether bytes, the end or a part of a record are buffered here. `select` does not report
        these: the kernel has handed them over."""
        tls = self._tls
        if tls is None:
            return False
        with self._state:
            is_held = bool(self._peeked) or tls.pending() > 0 or self._arrived.pending > 0
            return is_held or self._has_ended or self._record_s > 0

    # --- reading: by one thread ------------------------------------------------------------------

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Read as a plain socket does. Also raises BlockingIOError if only a part of a record has
        arrived."""
        tls = self._tls
        if tls is None:
            return super().recv_into(buffer, nbytes, flags)
        wanted = nbytes or memoryview(buffer).nbytes
        if self._peeked:
            ready, self._peeked = self._peeked[:wanted], self._peeked[wanted:]
            memoryview(buffer).cast("B")[: len(ready)] = ready
            return len(ready)
        size = self._decrypted(tls, wanted, buffer)
        if size is not None:
            return size
        try:
            data = super().recv(WAITED_BYTES, flags)
            if len(data) == WAITED_BYTES:
                with contextlib.suppress(BlockingIOError):
                    data += super().recv(RAW_BYTES - WAITED_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:  # the receive timeout, or nothing is there
            self._check_record()
            raise
        with self._state:
            if data:
                self._arrive(data)
            else:
                self._arrived.write_eof()
        size = self._decrypted(tls, wanted, buffer)
        if size is not None:
            return size
        self._check_record()
        raise BlockingIOError

    def _arrive(self, data: bytes) -> None:
        """Take bytes from the network. OpenSSL does not show a part of a record, so the lengths in
        the headers (RFC 8446 section 5.1) tell whether a record has begun."""
        self._arrived.write(data)
        place, has_ended = 0, False
        while place < len(data):
            if self._lacking == 0:
                part = data[place : place + HEADER_BYTES - len(self._header)]
                self._header += part
                place += len(part)
                if len(self._header) < HEADER_BYTES:
                    break
                self._lacking = int.from_bytes(self._header[3:], "big")
            step = min(self._lacking, len(data) - place)
            place += step
            self._lacking -= step
            if self._lacking == 0:
                self._header, has_ended = b"", True
        if not self._header:
            self._record_s = 0.0
        elif has_ended or not self._record_s:
            self._record_s = time.monotonic()

    def take(self, buffer: Any) -> int:
        """Read bytes that have already arrived, without using the network. Return 0 if more bytes
        are needed first, and at the end. At most RAW_BYTES are buffered here, plus the record
        before them."""
        tls = self._tls
        if tls is None or self._peeked:
            return self.recv_into(buffer) if self._peeked else 0
        return self._decrypted(tls, memoryview(buffer).nbytes, buffer) or 0

    def _check_record(self) -> None:
        """Raise an error if a record began too long ago, even if more of it has arrived since."""
        if self._record_s and time.monotonic() - self._record_s > TLS_RECORD_S:
            raise ConnectionAbortedError("a record was begun and not finished")

    def _decrypted(self, tls: ssl.SSLObject, wanted: int, buffer: Any) -> int | None:
        """Read the bytes that have arrived. Return 0 at the end, or None if more bytes are needed
        first.

        OpenSSL answers some records while they are read (KeyUpdate; a request for a new handshake).
        These answers are sent with the next bytes, and the other side must not make them pile up.
        """
        with self._state:
            try:
                size: int | None = int(tls.read(wanted, buffer))
            except ssl.SSLWantReadError:
                size = None
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                size = 0
            if self._leaving.pending > TLS_ANSWERS_BYTES:
                raise ConnectionAbortedError("it asked TLS for more answers than it reads")
            if size is not None:
                self._has_ended = size == 0
            return size

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        if self._tls is None:
            return super().recv(bufsize, flags)
        if flags & socket.MSG_PEEK:
            self._peeked = self._peeked or self.recv(bufsize, flags & ~socket.MSG_PEEK)
            return self._peeked[:bufsize]
        buffer, limit_s = bytearray(bufsize), self.gettimeout()
        until_s = None if limit_s is None else time.monotonic() + limit_s
        try:
            while True:
                try:
                    return bytes(buffer[: self.recv_into(buffer, bufsize, flags)])
                except BlockingIOError:
                    if flags & socket.MSG_DONTWAIT or not self._record_s or limit_s == 0:
                        raise
                self._wait_until(until_s)
        finally:
            self.settimeout(limit_s)

    def _wait_until(self, until_s: float | None) -> None:
        """Make the next system call wait until this time. Raises TimeoutError if the time is
        over."""
        if until_s is not None:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("timed out")
            self.settimeout(left_s)

    # --- writing: by any thread ------------------------------------------------------------------

    def send(self, data: Any, flags: int = 0) -> int:
        if self._tls is None:
            return super().send(data, flags)
        if not self._sending.acquire(blocking=not flags & socket.MSG_DONTWAIT):
            raise BlockingIOError
        try:
            if not self._push(flags):
                raise BlockingIOError
            view = memoryview(data).cast("B")[: PIECE_BYTES + self._owes]
            self._encrypt(view[self._owes :])
            self._owes = not self._push(flags)
            return len(view) - self._owes
        finally:
            self._sending.release()

    def sendall(self, data: Any, flags: int = 0) -> None:
        if self._tls is None:
            super().sendall(data, flags)
            return
        with self._sending:
            limit_s = self.gettimeout()
            until_s = time.monotonic() + limit_s if limit_s else None
            view = memoryview(data).cast("B")
            if self._owes and view:
                view, self._owes = view[1:], False
            try:
                while True:
                    if not self._push(flags, until_s):
                        raise BlockingIOError
                    if not view:
                        return
                    self._encrypt(view[:PIECE_BYTES])
                    view = view[PIECE_BYTES:]
            finally:
                if until_s is not None:
                    self.settimeout(limit_s)

    def _encrypt(self, view: memoryview) -> None:
        with self._state:
            tls = self._tls
            if tls is None:
                raise OSError(errno.EBADF, "another thread closed it")
            while view:
                view = view[tls.write(view) :]
            self._unsent = memoryview(self._leaving.read())

    def _push(self, flags: int, until_s: float | None = None) -> bool:
        """Send the encrypted bytes. Return whether the kernel took all of them."""
        while self._unsent:
            self._wait_until(until_s)
            try:
                sent = super().send(self._unsent, flags)
            except BlockingIOError:
                return False
            self._unsent = self._unsent[sent:]
        return True

    def shutdown(self, how: int) -> None:
        """End one direction or both. The TLS close alert is sent if that needs no wait."""
        tls = self._tls
        if tls is not None and how != socket.SHUT_RD and self._sending.acquire(blocking=False):
            try:
                with contextlib.suppress(OSError, ValueError):
                    if self._push(socket.MSG_DONTWAIT):
                        self._say_goodbye(tls)
            finally:
                self._sending.release()
        super().shutdown(how)

    def _say_goodbye(self, tls: ssl.SSLObject) -> None:
        with self._state, contextlib.suppress(ssl.SSLError):
            tls.unwrap()
        self._unsent = memoryview(self._leaving.read())
        self._push(socket.MSG_DONTWAIT)
