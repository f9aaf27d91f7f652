"""The runner of machines that listen in virtual time: clients that read slowly or at once.

Each event of a watch must arrive once, in order, without a gap: it is compared with the events that
the nodes had when they applied the entries.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from random import Random

from raftline.state.key_events import BareEvent
from raftline.wire.commands import watch_lines as words
from raftline.wire.key_stat import value_of

from ...invariants import InvariantError
from ...workloads.watcher_machine import (
    ListenSteps,
    NextLine,
    Open,
    Say,
    WatcherMachine,
    WatchReport,
)
from ..nodes.node_connections import Doors, SimulatedConnection
from ..nodes.node_events import Watching
from ..nodes.request_interface import Asked
from ..nodes.simulated_node import Host
from ..world.chance import up_to
from ..world.world import World

BEGINS = re.compile(r"WATCH response: ([0-9]+) keys? as of ([0-9]+)")
WINDOWS = (None, 60, 300, 3000)  # bytes that wait for a reader


class OrderCheck(WatchReport):
    """The comparison of what one watcher gets with the events of the nodes."""

    def __init__(self, world: World, name: str, prefix: str, watching: Watching) -> None:
        self.held: dict[str, str] | None = None  # the node's state when the watch began there
        self._world = world
        self._name = name
        self._prefix = prefix
        self._watching = watching
        self._place = 0  # index in all events: earlier ones have arrived, or aren't needed

    def listed(self, number: int, keys: dict[str, str]) -> None:
        self._world.counts["watches over lines that began"] += 1
        self._find_place(number)
        if self.held is not None and keys != self.held:
            raise InvariantError(f"{self._name} gets {keys}, and {self.held} is there")

    def resumed(self, number: int) -> None:
        self._world.counts["watches over lines that went on"] += 1
        self._find_place(number)

    def got(self, event: BareEvent) -> None:
        self._skip()
        expected = self._watching.order[self._place : self._place + 1]
        if [words.event(*event)] != [words.event(*each) for each in expected]:
            raise InvariantError(f"{self._name} gets {event!r}, and not {expected}")
        self._place += 1
        self._world.counts["events over lines"] += 1

    def passed(self, number: int) -> None:
        self._skip()
        order = self._watching.order
        if self._place < len(order) and order[self._place][0] <= number:
            raise InvariantError(f"{self._name} is at {number} without {order[self._place]}")

    def ended(self, why: str) -> None:
        self._world.counts["watches over lines ended by unwatch"] += why.startswith("UNWATCH ")

    def _find_place(self, number: int) -> None:
        """Find the first event after an entry."""
        order = self._watching.order
        self._place = len(order)
        while self._place and order[self._place - 1][0] > number:
            self._place -= 1

    def _skip(self) -> None:
        """Skip the events that don't match."""
        order, prefix = self._watching.order, self._prefix
        while self._place < len(order) and not order[self._place][2].startswith(prefix):
            self._place += 1


class Listener(ABC):
    """The runner of a machine that listens on one connection at a time, at changing nodes."""

    windows: Sequence[int | None] = WINDOWS

    def __init__(
        self, world: World, chance: Random, name: str, hosts: Sequence[Host], steps: ListenSteps
    ) -> None:
        self.name = name
        self.stopped = False
        self._world = world
        self._chance = chance
        self._hosts = hosts
        self._host = hosts[0]
        self._connection: SimulatedConnection | None = None
        self._leaves_ms = 0
        self._steps = steps
        self._wait()

    @abstractmethod
    def _connected(self, host: Host) -> SimulatedConnection:
        """Return a new connection."""

    @abstractmethod
    def _formatted(self, line: str) -> bytes:
        """Return the bytes of a request."""

    def stop(self) -> None:
        """Stop listening."""
        self.stopped = True
        self._hang_up()

    def _wait(self) -> None:
        self._world.beside(1 + up_to(59, self._chance), self._chance.random(), self._act)

    def _act(self) -> None:
        """Read the received bytes, or see that the connection, the stay or a rest has ended."""
        if self.stopped:
            return
        self._wait()
        connection = self._connection
        if connection is None or connection.is_over or self._host.node is None:
            self._go_on(None)
        elif self._world.now_ms > self._leaves_ms:
            self._go_on("")
        elif connection.held:
            size = self._chance.randint(1, connection.held)
            self._host.beside(0, self._chance.random(), connection.take, size)

    def _go_on(self, answer: object) -> None:
        """Give the machine an answer, and carry out its next steps."""
        step = self._steps.send(answer)
        if isinstance(step, Open):
            self._open()
        if isinstance(step, (Open, Say)):
            self._leaves_ms = self._world.now_ms + step.stay_ms
            if self._connection is not None:
                data = self._formatted(step.line)
                self._host.beside(0, self._chance.random(), self._connection.receive, data)
            step = next(self._steps)
        if not isinstance(step, NextLine):
            self._hang_up()

    def _open(self) -> None:
        host = self._host = self._chance.choice(self._hosts)
        if host.node is None or host.paused:
            return
        connection = self._connected(host)
        connection.window = self._chance.choice(self.windows)
        host.requests.keep(connection)
        self._connection = connection

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._host.beside(0, self._chance.random(), connection.hang_up)

    def hear(self, connection: SimulatedConnection, answer: object) -> None:
        """Give the machine a line or a reply that has arrived."""
        if connection is self._connection:
            self._go_on(answer)


class WatchClient(Listener):
    """A watch that moves between the nodes."""

    def __init__(
        self, world: World, chance: Random, name: str, hosts: Sequence[Host], watching: Watching
    ) -> None:
        self.prefix = chance.choice(["", "", "a", "talker"])
        self.check = OrderCheck(world, name, self.prefix, watching)
        machine = WatcherMachine(name, self.prefix, chance, self.check)
        super().__init__(world, chance, name, hosts, machine.steps())

    def _connected(self, host: Host) -> WatchConnection:
        return WatchConnection(host.requests.doors, host, self)

    def _formatted(self, line: str) -> bytes:
        return f"{line}\n".encode()


class LinesHeard(SimulatedConnection):
    """A connection whose client gets each line unchanged."""

    def __init__(self, host: Host, heard: Callable[[str], None]) -> None:
        super().__init__(host.requests.doors, host, self._line_left)
        self._heard = heard
        host.requests.keep(self)

    def _line_left(self, _: SimulatedConnection, line: str) -> None:
        def heard(_: str | None) -> None:
            self._heard(line)

        self._sim.note_reply(self, Asked(None, "", heard))


class WatchConnection(SimulatedConnection):
    """The connection of one watch."""

    def __init__(self, doors: Doors, host: Host, client: WatchClient) -> None:
        super().__init__(doors, host, self._line_left)
        self._client = client

    def _line_left(self, _: SimulatedConnection, line: str) -> None:
        held = None
        if match := BEGINS.search(line):
            host, prefix = self._sim, self._client.prefix
            if host.stepper.watchers.feed.history.last == int(match[2]):
                pairs = host.manager.store.held.items()
                held = {key: value_of(one) for key, one in pairs if key.startswith(prefix)}

        def heard(_: str | None) -> None:
            if match:
                self._client.check.held = held
            self._client.hear(self, line)

        self._sim.note_reply(self, Asked(None, "", heard))
