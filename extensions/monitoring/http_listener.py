"""The HTTP listener of a node: one thread does the I/O of all connections, and a few make the
pages.

A slow connection takes a slot, but not a thread. A request may take HTTP_S to arrive, and its
answer HTTP_S to be sent. If all slots are taken, the oldest connection is closed. A page is made
once for all clients that request it meanwhile, so a client with many requests does not delay the
others.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import selectors
import socket
import stat
import threading
import time
from collections.abc import Callable, Collection
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, NamedTuple

from raftline.common.address import Endpoint, is_own_name
from raftline.common.config import PortRefused
from raftline.common.process.guarded_thread import begin_thread
from raftline.common.process.signals import threads_without_signals
from raftline.wire.limits import HTTP_CONNECTIONS, HTTP_HEAD_BYTES, HTTP_S, HTTP_THREADS
from raftline.wire.protocol import shown

from .endpoints import HttpAnswer, Pages

CLOSE_S = 5.0  # time limit for the end of the I/O thread
PAUSE_S = 0.2  # after a failed accept
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_ENDS = (b"\r\n\r\n", b"\n\n")  # of a request


class HttpRequest(NamedTuple):
    """The parts of a request that are used here."""

    path: str
    has_text: bool


class HttpRefusal(Exception):
    """A request for which there is no page. `answer` is the reply."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.answer = HttpAnswer(status, f"{text}\n")


class HttpConnection:
    """One connection: the bytes of its request so far, then the unsent rest of its answer.

    Only the I/O thread uses it.
    """

    def __init__(self, accepted: socket.socket, by_s: float) -> None:
        self.socket = accepted
        self.by_s = by_s  # the time at which it is closed
        self.head = bytearray()
        self.path = ""  # of the page, once it is known
        self.has_text = True  # False for HEAD
        self.unsent = memoryview(b"")

    def is_whole(self, data: bytes) -> bool:
        """Take a piece of the request. Return whether the request is complete."""
        begin = max(0, len(self.head) - 3)
        self.head += data
        return any(self.head.find(end, begin) >= 0 for end in _ENDS)


class MonitorListener:
    """Listens at an address or a path, and answers requests with the pages."""

    def __init__(
        self,
        place: Endpoint,
        pages: Pages,
        patience_s: float = HTTP_S,
        names: Collection[str] = (),
    ) -> None:
        """Take the port or the path. No request is answered before `open`. A request for a host
        other than `names`, localhost or an address is refused.

        Raises:
            PortRefused: the port or the path is in use, or can't be used.
        """
        self.pages = pages
        self._names = {place.host, *names}
        self._patience_s = patience_s
        self._place = place
        self._connections: dict[HttpConnection, None] = {}  # oldest first
        self._lock = threading.Lock()  # guards these two
        self._waiting: dict[str, list[HttpConnection]] = {}  # by the page that they wait for
        self._in_work: set[str] = set()  # pages that are being made, or will be next
        self._to_make: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._made: queue.SimpleQueue[tuple[list[HttpConnection], HttpAnswer]] = queue.SimpleQueue()
        self._is_closing = False
        self._begun = 0  # threads
        self._is_over = threading.Event()
        self._socket = _listening(place)
        self._socket.setblocking(False)
        self.server_address: Any = self._socket.getsockname()
        self._woken, self._waker = socket.socketpair()
        for each in (self._woken, self._waker):
            each.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, READ)
        self._selector.register(self._woken, READ)

    def open(self, name: str, say: Callable[[str], None]) -> None:
        """Start answering, in new threads. `say` prints a line on the console."""

        def ended_by(error: Exception) -> None:
            say(f"[!] {name}: a thread of --http ended, and needs a restart: {error!r}")

        runs = [("http", self._serve), *[("http answers", self._make_pages)] * HTTP_THREADS]
        with threads_without_signals():
            for what, run in runs:
                begin_thread(run, f"{name} {what}", ended_by)
                self._begun += 1

    def close(self) -> None:
        """Stop answering, free the port, and remove the socket's file."""
        self._is_closing = True
        self._wake()
        for _ in range(self._begun):
            self._to_make.put(None)
        if self._begun:
            self._is_over.wait(CLOSE_S)
        else:
            self._selector.close()
        for each in (self._socket, self._woken, self._waker):
            each.close()
        if self._place.path:
            with contextlib.suppress(OSError):
                os.unlink(self._place.path)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # the pipe is full, so the thread wakes anyway
            self._waker.send(b"x")

    # --- the I/O thread --------------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            with self._selector, self._socket:  # after an error, clients are refused at once
                try:
                    self._serve_until_closed()
                finally:
                    for connection in list(self._connections):
                        self._hang_up(connection)
        finally:
            self._is_over.set()

    def _serve_until_closed(self) -> None:
        while not self._is_closing:
            for key, _ in self._selector.select(self._left_s()):
                self._attend(key.fileobj, key.data)
            now_s = time.monotonic()
            for connection in [one for one in self._connections if one.by_s <= now_s]:
                self._hang_up(connection)

    def _attend(self, ready: object, connection: HttpConnection | None) -> None:
        """Handle a ready socket without waiting."""
        if ready is self._socket:
            self._accept()
        elif connection is None:
            self._send_made()
        elif connection in self._connections:  # otherwise it was closed in this round
            self._advance(connection)

    def _left_s(self) -> float | None:
        """Return the seconds until the next connection must be closed, or None without one."""
        first_s = min((one.by_s for one in self._connections), default=math.inf)
        return None if first_s == math.inf else max(0.0, first_s - time.monotonic())

    def _accept(self) -> None:
        try:
            while True:
                self._take(self._socket.accept()[0])
        except BlockingIOError:
            return
        except OSError:
            time.sleep(0 if self._is_closing else PAUSE_S)  # out of descriptors, for example

    def _take(self, accepted: socket.socket) -> None:
        """Give a connection a slot."""
        accepted.setblocking(False)
        if len(self._connections) >= HTTP_CONNECTIONS:
            self._hang_up(next(iter(self._connections)))
        connection = HttpConnection(accepted, time.monotonic() + self._patience_s)
        self._connections[connection] = None
        self._selector.register(accepted, READ, connection)

    def _hang_up(self, connection: HttpConnection) -> None:
        del self._connections[connection]
        with self._lock:
            waiting = self._waiting.get(connection.path, [])
            if connection in waiting:
                waiting.remove(connection)
        with contextlib.suppress(KeyError):  # it is waiting for its page
            self._selector.unregister(connection.socket)
        with contextlib.suppress(OSError):
            connection.socket.shutdown(socket.SHUT_WR)
        connection.socket.close()

    def _advance(self, connection: HttpConnection) -> None:
        """Read or send as much as possible without waiting."""
        try:
            if connection.unsent:
                self._send(connection)
            else:
                self._read(connection)
        except BlockingIOError:
            pass
        except OSError:  # it hung up
            self._hang_up(connection)

    def _read(self, connection: HttpConnection) -> None:
        data = connection.socket.recv(HTTP_HEAD_BYTES)
        is_whole = connection.is_whole(data)
        if not data or len(connection.head) > HTTP_HEAD_BYTES:
            self._hang_up(connection)
        elif is_whole:
            self._selector.unregister(connection.socket)
            try:
                request = read_request(bytes(connection.head), self._refuses)
            except HttpRefusal as refused:
                self._answer(connection, refused.answer)
                return
            connection.path, connection.has_text = request
            self._ask_for(connection)

    def _refuses(self, host: str) -> bool:
        """Return whether a request names another host. A stranger's DNS may map a name to this
        address, so that a web page could read data that only its reader's machine may read. A path
        has no such name."""
        return not self._place.path and not is_own_name(host, self._names)

    def _ask_for(self, connection: HttpConnection) -> None:
        path = connection.path
        if path not in self.pages.by_path:
            there = " ".join(self.pages.by_path)
            self._answer(connection, HttpAnswer(404, f"no such page; the pages are: {there}\n"))
            return
        connection.by_s = math.inf  # making a page has other limits
        with self._lock:
            self._waiting.setdefault(path, []).append(connection)
            is_in_work = path in self._in_work
            self._in_work.add(path)
        if not is_in_work:
            self._to_make.put(path)

    def _send_made(self) -> None:
        """Start sending the new pages. Connections share the bytes of a page."""
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(1024)
        with contextlib.suppress(queue.Empty):
            while not self._is_closing:
                connections, answer = self._made.get_nowait()
                formatted = {
                    has_text: format_answer(answer, has_text) for has_text in (True, False)
                }
                for connection in connections:
                    if connection in self._connections:
                        self._begin_answer(connection, formatted[connection.has_text])

    def _answer(self, connection: HttpConnection, answer: HttpAnswer) -> None:
        self._begin_answer(connection, format_answer(answer, connection.has_text))

    def _begin_answer(self, connection: HttpConnection, data: bytes) -> None:
        connection.unsent = memoryview(data)
        connection.by_s = time.monotonic() + self._patience_s
        self._selector.register(connection.socket, WRITE, connection)
        self._advance(connection)

    def _send(self, connection: HttpConnection) -> None:
        connection.unsent = connection.unsent[connection.socket.send(connection.unsent) :]
        if not connection.unsent:
            self._hang_up(connection)

    # --- the threads that make pages -------------------------------------------------------------

    def _make_pages(self) -> None:
        while (path := self._to_make.get()) is not None:
            with self._lock:
                connections = self._waiting.pop(path)
            try:
                answer = self.pages.by_path[path]()
            except Exception as error:
                answer = HttpAnswer(
                    500, f"this page can't be made: {type(error).__name__}: {error}\n"
                )
            self._made.put((connections, answer))
            self._wake()
            with self._lock:
                is_asked_for = path in self._waiting
                if not is_asked_for:
                    self._in_work.discard(path)
            if is_asked_for:
                self._to_make.put(path)


def read_request(head: bytes, refuses: Callable[[str], bool]) -> HttpRequest:
    """Return the request. `refuses(host)` says whether a name is not one of this node's.

    Raises:
        HttpRefusal: it is malformed, or not supported.
    """
    first, *fields = head.decode("latin-1").splitlines()
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise HttpRefusal(400, "this is not an HTTP/1 request: GET /health HTTP/1.1")
    method, path, _ = words
    if method not in ("GET", "HEAD"):
        raise HttpRefusal(501, "only GET and HEAD are supported here")
    pairs = [field.partition(":") for field in fields]
    hosts = [value.strip() for name, _, value in pairs if name.strip().lower() == "host"]
    if len(hosts) > 1:
        raise HttpRefusal(400, "more than one Host")
    if hosts and refuses(hosts[0]):
        raise HttpRefusal(
            403,
            f"{shown(hosts[0])} is not a name of this node. Use its address, or start it with"
            " --advertise NAME:PORT",
        )
    return HttpRequest(path.partition("?")[0], method == "GET")


def format_answer(answer: HttpAnswer, has_text: bool) -> bytes:
    """Return the bytes of an answer, without its text for HEAD. The connection ends after it."""
    data = answer.text.encode("utf-8", "replace")
    head = [
        f"HTTP/1.0 {answer.status} {HTTPStatus(answer.status).phrase}",
        "Server: raftline",
        f"Date: {formatdate(usegmt=True)}",
        f"Content-Type: {answer.kind}",
        f"Content-Length: {len(data)}",
        "Cache-Control: no-store",
        "",
        "",
    ]
    return "\r\n".join(head).encode() + (data if has_text else b"")


def _listening(place: Endpoint) -> socket.socket:
    """Return a socket that listens at an address or a path. Raises PortRefused."""
    address: Any = place.path
    try:
        if place.path:
            family = socket.AF_UNIX
            _free(place.path)
        else:
            info = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0]
            family, address = info[0], info[4]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            if not place.path:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(HTTP_CONNECTIONS)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        why = error.strerror or error
        raise PortRefused(
            f"--http {place}: can't listen there: {why}; choose another place"
        ) from None
    return listener


def _free(path: str) -> None:
    """Remove the socket file of a killed process. A socket in use stays, and so does any other
    file."""
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)  # a full listener would block it
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
