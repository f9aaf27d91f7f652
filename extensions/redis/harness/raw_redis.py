"""A connection of a Redis client to a real node, or to a Redis, byte by byte."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from raftline_testing.nodes.processes import eventually, free_ports

from .redis_wire import framed

DEADLINE_S = 60.0


class Server(Protocol):
    """A server at a port: a node, or a Redis."""

    @property
    def port(self) -> int: ...


class Raw:
    """A connection that sends commands, and reads bytes."""

    def __init__(self, node: Server) -> None:
        self._socket = socket.create_connection(("localhost", node.port), DEADLINE_S)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    @property
    def own_port(self) -> int:
        """The port of this side."""
        port: int = self._socket.getsockname()[1]
        return port

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def line(self) -> bytes:
        return self._file.readline()

    def ask(self, *words: bytes) -> bytes:
        """Return the first line of a reply."""
        self.send(framed(*words))
        return self.line()

    def whole(self, *words: bytes) -> bytes:
        """Return all bytes of a reply."""
        self.send(framed(*words))
        return self.reply()

    def reply(self) -> bytes:
        """Return all bytes of the next reply."""
        head = self.line()
        count = int(head[1:]) * (1 + head.startswith(b"%")) if head[:1] in b"$*>~%" else 0
        if head.startswith(b"$"):
            return head + (self._file.read(count + 2) if count >= 0 else b"")
        return head + b"".join([self.reply() for _ in range(count)])

    def rest(self) -> bytes:
        """Return all bytes until the node closes the connection."""
        return self._file.read()


class RedisServer(NamedTuple):
    """A Redis, which answers as a node does."""

    port: int

    def is_up(self) -> bool:
        """Return whether it answers."""
        try:
            with Raw(self) as raw:
                return raw.ask(b"PING") == b"+PONG\r\n"
        except OSError:
            return False


def has_redis() -> bool:
    """Return whether there is a Redis 7 on this machine."""
    server = shutil.which("redis-server")
    return server is not None and " v=7." in subprocess.getoutput(f"{server} --version")


@contextlib.contextmanager
def redis_beside(folder: Path) -> Iterator[RedisServer]:
    """Run a Redis with its files in a folder."""
    server = RedisServer(next(free_ports))
    command = ["redis-server", "--port", str(server.port), "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            eventually(server.is_up, "a Redis")
            yield server
        finally:
            process.kill()
