"""The watch over a node's syncs: a count of them, or a delay as by a slow disk (launch.py)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import struct
import sys
import threading
from pathlib import Path

from raftline_course.conform.verdicts import NotJudged

RECEIVE, SEND = 0xC0502100, 0xC0182101  # ioctls of a seccomp listener
NOTICE, ANSWER = "QIIi", "QqiI"
NOTICE_BYTES = 80
GO_ON = 1
LAUNCHER = Path(__file__).with_name("launch.py")


class Syncs:
    """A watch that takes the kernel's requests in its own thread. `hold` makes each sync wait."""

    def __init__(self, folder: Path) -> None:
        self.count = 0
        self._path = folder / "syncs"
        self._is_held = False
        self._held: list[tuple[int, int]] = []  # listener, and the number of the request
        self._changed = threading.Condition()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def prefix(self) -> list[str]:
        """The words in front of the node's command."""
        if sys.platform != "linux":
            raise NotJudged("only Linux lets the kit watch a node's syncs")
        return [sys.executable, str(LAUNCHER), str(self._path)]

    def hold(self) -> int:
        """Make each sync wait from now on; return the count so far."""
        with self._changed:
            self._is_held = True
            return self.count

    def release(self) -> None:
        """Resume all syncs."""
        with self._changed:
            self._is_held = False
            held, self._held = self._held, []
        for listener, number in held:
            _resume(listener, number)

    def wait_beyond(self, count: int, timeout_s: float) -> bool:
        """Wait until more syncs than this were requested; return whether they were."""
        with self._changed:
            return self._changed.wait_for(lambda: self.count > count, timeout_s)

    def close(self) -> None:
        """End the watch."""
        self.release()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                _, listeners, _, _ = socket.recv_fds(connection, 1, 1)
                for listener in listeners:
                    threading.Thread(target=self._watch, args=(listener,), daemon=True).start()
                connection.sendall(b"!")

    def _watch(self, listener: int) -> None:
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        with contextlib.suppress(OSError):
            while not poll.poll()[0][1] & select.POLLHUP:
                notice = bytearray(NOTICE_BYTES)
                with contextlib.suppress(FileNotFoundError):  # the requesting process is gone
                    fcntl.ioctl(listener, RECEIVE, notice)
                    self._take(listener, struct.unpack_from(NOTICE, notice)[0])
        os.close(listener)

    def _take(self, listener: int, number: int) -> None:
        with self._changed:
            self.count += 1
            is_held = self._is_held
            if is_held:
                self._held.append((listener, number))
            self._changed.notify_all()
        if not is_held:
            _resume(listener, number)


def _resume(listener: int, number: int) -> None:
    with contextlib.suppress(OSError):  # the process was killed meanwhile
        fcntl.ioctl(listener, SEND, bytearray(struct.pack(ANSWER, number, 0, 0, GO_ON)))
