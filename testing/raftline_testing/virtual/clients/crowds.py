"""Crowds of clients: many connections that send many lines before they read, at one node.

Time does not pass in a simulated node while it works, so a crowd can't slow it down. Counts check
the limits of a crowd: no step serves so many reads that all others wait for them (see `Observer`),
and a client that reads its replies is not refused because of a full queue: the node stops reading
until there is room.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from raftline.wire.refusal import TOO_MUCH_WAITS

from ...invariants import InvariantError
from ..nodes.client_connection import ClientConnection
from ..nodes.simulated_node import Host
from ..world.plan import Plan
from ..world.world import World
from .talkers import Talker

CONNECTIONS = 24
LINES = 128  # lines that each sends at once: all writes, or all reads
BURSTS = 3
WRITERS = 0.2
CROWDS = 3  # crowds in a schedule
STAYS_TIMEOUTS = 5


class Member(Talker):
    """A client of a crowd, at one node."""

    slow_readers = False
    _bursts = 0

    def _act(self) -> None:
        if self._bursts < BURSTS or self._open:
            super()._act()

    def _count(self) -> int:
        self._bursts += 1
        self.writes = float(self._chance.random() < WRITERS)
        return LINES

    def _when_set(self, connection: ClientConnection, value: str) -> Callable[[str | None], None]:
        return _served(super()._when_set(connection, value))

    def _when_got(self, connection: ClientConnection) -> Callable[[str | None], None]:
        return _served(super()._when_got(connection))


def _served(heard: Callable[[str | None], None]) -> Callable[[str | None], None]:
    """Return a listener that accepts no refusal because of a full queue.

    Raises:
        InvariantError: there was such a refusal.
    """

    def hear(reply: str | None) -> None:
        if reply == TOO_MUCH_WAITS:
            raise InvariantError(f"a client that reads its replies is told: {reply}")
        heard(reply)

    return hear


class Crowds:
    """The crowds of one schedule."""

    def __init__(self, world: World, plan: Plan, hosts: Sequence[Host]) -> None:
        self._world = world
        self._hosts = hosts
        self._timeout_ms = plan.options.election_timeout_ms
        self._here: list[Member] = []
        self.all: list[Member] = []

    def come(self, host: Host) -> None:
        """Send requests of a crowd to this node for a while."""
        if self._here or len(self.all) >= CROWDS * CONNECTIONS:
            return
        self._world.tell("act", f"> a crowd comes to {host.name}")
        chance, come = Random(self._world.random.getrandbits(32)), len(self.all)
        self._here = [
            Member(self._world, chance, f"crowd{number}", [host], 0)
            for number in range(come, come + CONNECTIONS)
        ]
        self.all += self._here
        self._world.after(STAYS_TIMEOUTS * self._timeout_ms, self.leave)

    def leave(self) -> None:
        """End the present crowd."""
        for member in self._here:
            member.stop()
        self._here = []
