"""Clients that send many lines before they read, and read slowly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from raftline.wire.refusal import OUTCOME_UNKNOWN

from ...invariants import InvariantError
from ..nodes.client_connection import ClientConnection
from ..nodes.request_interface import Asked
from ..nodes.simulated_node import Host
from ..world.world import World

WINDOWS = (40, 100, 1000)  # bytes that wait for a slow reader


class Talker:
    """A client that sends lines without reading, about its own key."""

    writes = 0.5  # their share of the lines
    slow_readers = True

    def __init__(
        self, world: World, chance: Random, name: str, hosts: Sequence[Host], think_ms: int
    ) -> None:
        self.name = name
        self.stopped = False
        self._world = world
        self._chance = chance
        self._hosts = hosts
        self._think_ms = think_ms
        self._host = hosts[0]
        self._connection: ClientConnection | None = None
        self._number = 0
        self._possible: set[str | None] = {None}  # the possible values of the key
        self._late: set[str | None] = set()  # sent on closed connections: may yet take effect
        self._asked: dict[str, None] = {}  # sent on this connection, without a reply
        self._open = 0
        self._begun_ms = 0
        self._think()

    def stop(self) -> None:
        """Send no more requests, and wait for no reply."""
        self.stopped = True
        self._leave()

    def judge(self, value: str | None) -> None:
        """Check the final value of its key."""
        if value not in self._possible | self._late:
            raise InvariantError(f"{self.name} holds {value}, and not one of {self._possible}")

    def _think(self) -> None:
        self._world.beside(
            self._chance.randint(1, 2 * self._think_ms + 20), self._chance.random(), self._act
        )

    def _act(self) -> None:
        """Send some lines, or read the received bytes."""
        if self.stopped:
            return
        self._think()
        connection, host = self._connection, self._host
        if connection is None or host.node is None:
            self._leave()
            self._host = self._chance.choice(self._hosts)
            if self._host.node is not None and not self._host.paused:
                self._connection = self._host.requests.connect()
                self._connection.window = self._window()
        elif self._open and self._world.now_ms - self._begun_ms > 2000:
            self._leave()
        elif not self._open:
            self._begun_ms = self._world.now_ms
            host.beside(0, self._chance.random(), self._send, connection)
        if self._connection is not None and self._connection.held:
            size = self._chance.randint(1, self._connection.held)
            host.beside(0, self._chance.random(), self._connection.take, size)

    def _leave(self) -> None:
        """Hang up; requests may yet take effect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._late |= {*self._asked}
            self._asked = {}
            self._open = 0
            for one in connection.asked:
                one.heard = None
            self._host.beside(0, self._chance.random(), connection.hang_up)

    def _window(self) -> int | None:
        return self._chance.choice(WINDOWS) if self.slow_readers else None

    def _count(self) -> int:
        """Return the number of lines that it sends at once."""
        return self._chance.randint(1, 8)

    def _send(self, connection: ClientConnection) -> None:
        if connection is not self._connection:
            return
        lines = []
        for _ in range(self._count()):
            self._number += 1
            if self._chance.random() < self.writes:
                value = f"v{self._number}"
                self._asked[value] = None
                lines.append(f"{self.name}@set {self.name} {value}")
                connection.asked.append(Asked(None, "", self._when_set(connection, value)))
            else:
                lines.append(f"{self.name}#{self._number}@get {self.name}")
                connection.asked.append(Asked(None, str(self._number), self._when_got(connection)))
        self._open += len(lines)
        self._world.counts["lines sent at once"] += len(lines)
        connection.receive("".join(f"{line}\n" for line in lines).encode())

    def _when_set(self, connection: ClientConnection, value: str) -> Callable[[str | None], None]:
        def heard(reply: str | None) -> None:
            if reply is None or connection is not self._connection:
                return
            self._open -= 1
            del self._asked[value]
            if not reply.startswith("Sorry, "):
                assert reply == f"SET response: {self.name} set to {value}", reply
                self._possible = {value}
            elif reply.startswith(OUTCOME_UNKNOWN):
                self._possible.add(value)

        return heard

    def _when_got(self, connection: ClientConnection) -> Callable[[str | None], None]:
        def heard(reply: str | None) -> None:
            if reply is None or connection is not self._connection:
                return
            self._open -= 1
            if reply.startswith("Sorry, "):
                return
            assert reply.startswith("GET response"), reply
            is_there = reply.startswith("GET response: ")
            value = reply.removeprefix("GET response: ") if is_there else None
            if value not in self._possible | self._late:
                raise InvariantError(
                    f"{self.name} reads {value}, and one of {self._possible} is there"
                )
            self._possible = {value}
            self._world.counts["own keys read"] += 1

        return heard
