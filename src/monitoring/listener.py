"""The HTTP door of a node: a few threads that answer, whatever the askers do.

A request has some seconds to come and its answer some to leave. What waits beyond that is hung up
on, and whoever comes while too many wait is turned away at once.
"""

from __future__ import annotations

import contextlib
import io
import os
import queue
import socket
import socketserver
import stat
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import Any

from raftline.common.address import Place
from raftline.common.config import PortRefused
from raftline.common.signals import threads_without_signals
from raftline.monitoring.pages import Answer, Pages
from raftline.wire.limits import HTTP_HEAD_BYTES, HTTP_S, HTTP_THREADS, HTTP_WAITING

PAUSE_S = 0.2  # after a connection that could not be taken


class MonitorListener(socketserver.TCPServer):
    """Listens at a place, and answers what is asked there with the pages."""

    allow_reuse_address = True
    request_queue_size = HTTP_WAITING

    def __init__(self, place: Place, pages: Pages, patience_s: float = HTTP_S) -> None:
        """Take the port or the path; nothing is answered before `open`.

        Raises:
            PortRefused: it can't be had.
        """
        self.pages = pages
        self.patience_s = patience_s
        self._place = place
        self._waiting: queue.SimpleQueue[socket.socket | None] = queue.SimpleQueue()
        self._is_closing = False
        self._threads: list[threading.Thread] = []
        address: Any = (place.host, place.port)
        try:
            if place.path:
                self.address_family = socket.AF_UNIX
                address = place.path
                _free(place.path)
            else:
                info = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0]
                self.address_family, address = info[0], info[4]
            super().__init__(address, _Asked)
        except OSError as error:
            why = error.strerror or error
            raise PortRefused(
                f"--http {place}: can't listen there: {why}; choose another place"
            ) from None

    def open(self, name: str) -> None:
        """Answer from now on, in threads of its own."""
        runs = [("http", self._accept), *[("http answers", self._work)] * HTTP_THREADS]
        self._threads = [
            threading.Thread(target=run, name=f"{name} {what}", daemon=True) for what, run in runs
        ]
        with threads_without_signals():
            for thread in self._threads:
                thread.start()

    def close(self) -> None:
        """Answer nobody any more; the port is free, and the socket's file is gone."""
        self._is_closing = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that takes connections
        for _ in self._threads:
            self._waiting.put(None)
        if self._threads:
            self._threads[0].join(self.patience_s)
        self.server_close()
        if self._place.path:
            with contextlib.suppress(OSError):
                os.unlink(self._place.path)

    def _accept(self) -> None:
        """Leave each connection to a thread; with all busy and many waiting, hang up."""
        while not self._is_closing:
            try:
                request, _ = self.get_request()
            except OSError:
                time.sleep(0 if self._is_closing else PAUSE_S)  # out of descriptors, say
                continue
            if self._waiting.qsize() < HTTP_WAITING:
                self._waiting.put(request)
            else:
                self.shutdown_request(request)

    def _work(self) -> None:
        while (request := self._waiting.get()) is not None:
            with contextlib.suppress(Exception):  # hung up, say: nobody is left to be told
                self.finish_request(request, None)
            self.shutdown_request(request)


def _free(path: str) -> None:
    """Remove a socket that a process left there when it was killed. One at which somebody listens
    stays, as does any other file."""
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)  # a listener that takes nobody would keep it waiting
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)


class _Asked(BaseHTTPRequestHandler):
    """One request, which is read whole before it is looked at."""

    server: MonitorListener
    server_version = "raftline"
    sys_version = ""

    def setup(self) -> None:
        self.connection = self.request
        self._by_s = time.monotonic() + self.server.patience_s
        self.rfile = io.BytesIO(self._head())
        self.wfile = self._out = io.BytesIO()

    def _head(self) -> bytes:
        """Return the request up to its empty line. Raises OSError where it does not come."""
        head = b""
        while b"\r\n\r\n" not in head and b"\n\n" not in head:
            self.connection.settimeout(max(0.001, self._by_s - time.monotonic()))
            data = self.connection.recv(HTTP_HEAD_BYTES)
            head += data
            if not data or len(head) > HTTP_HEAD_BYTES or time.monotonic() > self._by_s:
                raise OSError("no request")
        return head

    def finish(self) -> None:
        self.connection.settimeout(self.server.patience_s)  # for all of it together
        self.connection.sendall(self._out.getvalue())

    def do_GET(self) -> None:
        self._answer(with_text=True)

    def do_HEAD(self) -> None:
        self._answer(with_text=False)

    def _answer(self, *, with_text: bool) -> None:
        pages = self.server.pages.by_path
        page = pages.get(self.path.partition("?")[0])
        if page is None:
            answer = Answer(404, f"no such page; there are: {' '.join(pages)}\n")
        else:
            try:
                answer = page()
            except Exception as error:
                answer = Answer(500, f"this page can't be made: {type(error).__name__}: {error}\n")
        data = answer.text.encode("utf-8", "replace")
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_text:
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing: probes come every few seconds."""
