"""A connection whose client takes its long replies when a test says so."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence
from typing import Any

from raftline.net.connections.outgoing import Outgoing
from raftline.net.protocol.host import Batch
from raftline.net.protocol.outgoing_protocol import AT_ONCE, PIECE

from ..nodes.processes import eventually

DEADLINE_S = 60.0
LONG = AT_ONCE + PIECE  # characters of a value


class Recording(socket.socket):
    """A socket that keeps the sizes of what it is given to send."""

    def __init__(self, made: socket.socket) -> None:
        super().__init__(fileno=made.detach())
        self.sizes: list[int] = []

    def send(self, data: Any, flags: int = 0) -> int:
        self.sizes.append(len(data))
        return super().send(data, flags)

    def sendall(self, data: Any, flags: int = 0) -> None:
        self.sizes.append(len(data))
        super().sendall(data, flags)


class LongState:
    """A state of long values, and how much was read of it by which kind of thread."""

    def __init__(self, length: int = LONG) -> None:
        self.value = "v" * length
        self.read_by_others = 0  # than the thread of a slow reader: characters
        self.read_later = 0  # replies

    def read(
        self, commands: Sequence[str], room: int = 1 << 62, *, waits: bool = True
    ) -> list[str]:
        replies = []
        for _ in commands:
            replies.append(f"GET response: {self.value}")
            room -= len(replies[-1])
            if room <= 0:
                break
        if threading.current_thread().name == "slow reader":
            self.read_later += len(replies)
        else:
            self.read_by_others += sum(map(len, replies))
        return replies


class Line:
    """A connection's two ends, with little room in the kernel."""

    def __init__(self, host: Any) -> None:
        near, self.far = socket.socketpair()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.near = Recording(near)
        self.far.settimeout(DEADLINE_S)
        self.host, self.state = host, LongState()
        self.outgoing = Outgoing(host, self.near)

    def ask(self, *commands: str, is_read: bool = True) -> Batch:
        batch = Batch(commands, is_read=is_read, ids=[""] * len(commands), reply_sink=self.outgoing)
        batch.reader = self.state if is_read else None
        self.outgoing.add(batch)
        return batch

    def gets(self, count: int) -> None:
        """Ask as a client for a long value so often, and flush the answers."""
        self.ask(*["get a"] * count).wake()
        self.host.flush()

    def receive(self, size: int) -> bytes:
        data = bytearray()
        with contextlib.suppress(OSError):  # a thread may still read when the test closes the line
            while len(data) < size and (more := self.far.recv(min(size - len(data), 1 << 20))):
                data += more
        return bytes(data)

    def close(self) -> None:
        self.far.close()
        eventually(lambda: not self.outgoing._is_stuck, "the end of what it was sent")
        self.near.close()
