"""The connection of a client at one simulated node."""

from __future__ import annotations

from abc import ABC, abstractmethod

from raftline.net.protocol.host import Batch

from ...invariants import InvariantError
from .node_connections import Doors, ServingNode, SimulatedConnection
from .request_interface import Asked


class ClientConnection(SimulatedConnection):
    """A connection on which requests are sent; their replies come in order."""

    speaks_lines = True

    def __init__(self, doors: Doors, host: ServingNode) -> None:
        super().__init__(doors, host, self._line_left)
        self.doors = doors
        self.asked: list[Asked] = []  # unanswered lines, in order
        self._unwoken = 0  # batches

    def add(self, batch: Batch) -> None:
        waiting = [one for one in self.asked if one.batch is None]
        for place, one in enumerate(waiting[: len(batch.commands)]):
            one.batch, one.place = batch, place
        self._unwoken += 1
        super().add(batch)

    def mark_ready(self) -> None:
        self._unwoken -= 1
        if self._unwoken < 0:
            raise InvariantError("a batch is answered a second time")
        super().mark_ready()

    def _line_left(self, connection: SimulatedConnection, line: str) -> None:
        sender, _, text = line.partition("@")
        if not self.asked or self.asked[0].request_id != sender.partition("#")[2]:
            raise InvariantError(f"this connection has no request for {line!r}")
        self._answer(self.asked.pop(0), text)

    def _answer(self, one: Asked, text: str) -> None:
        one.reply = text
        if one.batch is not None:
            one.is_applied = one.batch.first_index > 0 and not text.startswith("Sorry, ")
        self._sim.note_reply(self, one)


class AtDoor(ABC):
    """A request that is made in the protocol of a door, on a connection of its own kind."""

    @abstractmethod
    def connect(self, doors: Doors, host: ServingNode) -> ClientConnection:
        """Return a connection for this client's requests."""

    @abstractmethod
    def begin(self, connection: ClientConnection) -> bytes:
        """Begin to ask on such a connection; return its first bytes."""
