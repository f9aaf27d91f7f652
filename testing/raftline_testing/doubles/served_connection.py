"""A connection that its own thread serves, at a node that a test plays."""

from __future__ import annotations

import socket
import threading
from typing import Any, cast

from raftline.net.connections.connection import Connection
from raftline.net.connections.shared_reader import SharedReader
from raftline.wire.commands.parsing import ReadSettings
from raftline.wire.operands.operands import Limits

from ..nodes.processes import eventually
from .fake_host import FakeHost

DEADLINE_S = 60.0
SHORT = Limits(key_bytes=16, value_bytes=16)


class ServedConnection:
    """A connection served by its own thread, and a driver that answers on order."""

    def __init__(
        self,
        limits: Limits = SHORT,
        shared_reader: SharedReader | None = None,
        ends: tuple[socket.socket, socket.socket] | None = None,
        for_peers_only: bool = False,
    ) -> None:
        self.here, self.there = ends or socket.socketpair()
        self.there.settimeout(DEADLINE_S)
        self.host = cast(Any, FakeHost(limits=limits, readings=ReadSettings(at_followers=True)))
        self.batches, self.heard = self.host.batches, self.host.heard
        self.connection = Connection(
            self.host,
            self.here,
            for_peers_only=for_peers_only,
            shared_reader=shared_reader,
            doors=self.host.doors,
        )
        self.thread = threading.Thread(target=self.connection.serve, daemon=True)
        self.thread.start()

    def say(self, text: str) -> None:
        self.there.sendall(text.encode())

    def submitted(self, count: int) -> list[list[str]]:
        """Return the commands of each batch, once that number has come."""
        eventually(lambda: len(self.batches) >= count, f"{count} batches")
        return [list(batch.commands) for batch in self.batches]

    def waits(self) -> bool:
        """Whether the connection's thread waits until the replies before have left."""
        return bool(self.connection.outgoing._has_waiter)

    def answer(self, place: int, reply: str) -> None:
        self.batches[place].answer_all(reply)
        self.host.flush()

    def lines(self) -> list[str]:
        """Return all lines until the connection ends."""
        with self.there.makefile("r") as file:
            return file.read().splitlines()

    def line(self) -> str:
        data = b""
        while not data.endswith(b"\n"):
            data += self.there.recv(1)
        return data.decode().removesuffix("\n")

    def line_of(self, size: int) -> bytes:
        """Return the next bytes that were sent here."""
        data = bytearray()
        while len(data) < size:
            data += self.there.recv(min(size - len(data), 1 << 20))
        return bytes(data)

    def end(self) -> None:
        self.there.close()
        for place in range(len(self.batches)):
            self.answer(place, "over")
        self.thread.join(DEADLINE_S)
