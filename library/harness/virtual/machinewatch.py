"""Simulated programs that watch with the machine of raftline's own clients
(`clients/watches/watch_machine.py`).

The machine meets nodes that are down, refuse, fall silent, are cut off or hang up. Each event must
arrive once, in order, without a gap. After the keys are sent again, the difference must yield the
state. Each call must end in time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from random import Random

from raftline.clients.calls.value_codec import TEXT
from raftline.clients.connections.node_connection import CONNECT_TIMEOUT_S, ClientError
from raftline.clients.requests.addresses import Addresses
from raftline.clients.requests.health import ClientHealth
from raftline.clients.requests.one_node import Connect, HangUp, NextLine, NodeStep, Rest, Send
from raftline.clients.watches.watch_events import Event, WatchCursor
from raftline.clients.watches.watch_machine import WatchMachine
from raftline.common.address import Address
from raftline.net.dialing import NEXT_S
from raftline.net.line_connection import ConnectionEnded
from raftline.wire.key_stat import TYPED, value_of
from raftline.wire.protocol import escape, real
from raftline_testing.invariants import InvariantError
from raftline_testing.virtual.nodes.node_connections import SimulatedConnection
from raftline_testing.virtual.nodes.node_events import Watching
from raftline_testing.virtual.nodes.request_interface import Asked
from raftline_testing.virtual.nodes.simulated_node import Host
from raftline_testing.virtual.watches.watchlines import BEGINS
from raftline_testing.virtual.world.places import first_of
from raftline_testing.virtual.world.world import World

CHECK_MS = 20  # between two checks whether the connection has ended
NOTICED = 0.7  # share of broken connections that the program notices
SILENCES_S = (1, 3, 10)
OPEN_S = 3.0
LATE_S = 0.1
GOES_ON = b"WATCH response: goes on"


class MachineWatch:
    """One program with one watch."""

    def __init__(
        self, world: World, chance: Random, name: str, hosts: Sequence[Host], watching: Watching,
        addresses: dict[str, str],
    ) -> None:  # fmt: skip
        self.stopped = False
        self._world = world
        self._chance = chance
        self.name = name
        self._hosts = {Address.parse(addresses[host.name]): host for host in hosts}
        self._watching = watching
        self._connection: _Connection | None = None
        self._host: Host | None = None
        self._lines: deque[tuple[bytes, dict[str, str] | None]] = deque()
        self._waits = 0  # counts the waits, so that a late timer doesn't end another one
        self._is_silent = False  # it broke, and the program doesn't notice
        self._begin()

    def _begin(self) -> None:
        """Begin a watch, as a program does after a refusal."""
        chance = self._chance
        self.prefix = chance.choice(["", "", "a", "talker"])
        named = chance.choice(sorted(self._hosts))
        health = ClientHealth(chance.choice(SILENCES_S))
        cursor = WatchCursor(TEXT, self.prefix, None)
        self.machine = WatchMachine(
            Addresses([named], learns=True, health=health), self.name, cursor, OPEN_S, self._now_s
        )
        self._place = 0  # index in all events: earlier ones have arrived
        self._is_listing = True
        self._last = 0  # the index of the latest event
        self._pairs: dict[str, str] = {}
        self._held: dict[str, str] | None = None  # state of the node when it listed its keys
        self._take()

    def _now_s(self) -> float:
        return self._world.now_ms / 1000

    def stop(self) -> None:
        """Stop watching."""
        self.stopped = True
        self.machine.is_closed = True

    def knows(self, names: Iterable[str]) -> bool:
        """Whether it knows one of these nodes."""
        places = filter(self._hosts.__contains__, map(first_of, self.machine.known))
        known = {self._hosts[each].name for each in places}
        return not known.isdisjoint(names)

    @property
    def is_current(self) -> bool:
        """Whether all events have arrived."""
        self._skip()
        return self.machine.cursor.is_listed and self._place == len(self._watching.order)

    # --- the steps of the machine -----------------------------------------------------------------

    def _take(self) -> None:
        """Take one line, with or without a time limit."""
        if self.stopped:
            return
        limit_s = self._chance.choice([None, 0.05, 1.0])
        self._until_s = None if limit_s is None else self._now_s() + limit_s
        self._steps = self.machine.take_line(self._until_s)
        self._go_on(None)

    def _go_on(self, answer: object, error: Exception | None = None) -> None:
        """Send the machine an answer or an error, and carry out its next steps."""
        while True:
            try:
                step = self._steps.throw(error) if error is not None else self._steps.send(answer)
            except StopIteration:
                self._world.beside(0, self._chance.random(), self._taken)
                return
            except ClientError as failure:
                self._world.counts["machines' watches: refused"] += 1
                self._world.tell("answer", f"{self.name} is refused: {failure}")
                self._hang_up()
                self._world.beside(100, self._chance.random(), self._begin)
                return
            answer, error = None, None
            if isinstance(step, Send):
                error = self._send(step.line)
            elif isinstance(step, HangUp):
                self._hang_up()
            elif isinstance(step, NextLine) and self._lines:
                answer = self._next_line()
            else:
                self._wait(step)
                return

    def _wait(self, step: NodeStep) -> None:
        self._waits += 1
        if isinstance(step, Rest):
            self._later(max(1, round(1000 * step.seconds)))
        elif isinstance(step, Connect):
            self._connect(step)
        else:
            assert isinstance(step, NextLine)
            late_ms = max(1, round(1000 * (step.until_s - self._now_s())))
            self._later(late_ms, TimeoutError())
            self._look(self._waits)

    def _later(
        self, delay_ms: int, error: Exception | None = None, answer: Address | None = None
    ) -> None:
        tie = self._chance.random()
        self._world.beside(delay_ms, tie, self._end_wait, self._waits, error, answer)

    def _end_wait(self, number: int, error: Exception | None, answer: Address | None) -> None:
        if number == self._waits:
            self._waits += 1
            self._go_on(answer, error)

    def _look(self, number: int) -> None:
        """Check now and then whether the connection has ended."""
        if number != self._waits:
            return
        if self._lines or (self._has_ended() and not self._is_silent):
            self._waits += 1
            if self._lines:
                self._go_on(self._next_line())
            else:
                self._go_on(None, ConnectionEnded())
            return
        self._world.beside(CHECK_MS, self._chance.random(), self._look, number)

    def _has_ended(self) -> bool:
        """Whether the connection broke, and the program can see that."""
        connection, host = self._connection, self._host
        return connection is None or connection.is_over or host is None or host.node is None

    def _next_line(self) -> bytes:
        line, held = self._lines.popleft()
        if BEGINS.search(line.decode()):
            self._world.counts["machines' watches: came anew"] += bool(self._last)
            self._is_listing, self._held = True, held
        self._world.counts["machines' watches: went on"] += GOES_ON in line
        return line

    def _connect(self, step: Connect) -> None:
        host = self._hosts.get(first_of(step.address))
        if host is None or host.node is None:
            self._later(1, ConnectionRefusedError())
        elif self._chance.random() < 0.05:
            self._hang(step)
        else:
            self._open(host)
            self._later(1, answer=step.address)

    def _hang(self, step: Connect) -> None:
        """Connect to the first of the other nodes that is up, or to none."""
        waited_s = NEXT_S
        for other in step.others:
            host = self._hosts.get(first_of(other))
            if host is not None and host.node is not None and waited_s < step.limit_s:
                self._world.counts["machines' watches: reached another"] += 1
                self._open(host)
                self._later(round(1000 * waited_s), answer=other)
                return
            waited_s += NEXT_S
        self._later(round(1000 * step.limit_s), TimeoutError())

    def _open(self, host: Host) -> None:
        self._host, self._lines = host, deque()
        self._is_silent = self._chance.random() > NOTICED
        self._connection = connection = _Connection(host, self)
        host.requests.keep(connection)

    def _send(self, line: bytes) -> Exception | None:
        connection, host = self._connection, self._host
        if connection is None or host is None or (self._has_ended() and not self._is_silent):
            return ConnectionResetError()
        if not self._has_ended():
            host.beside(0, self._chance.random(), connection.receive, line + b"\n")
        return None

    def _hang_up(self) -> None:
        connection, host, self._connection = self._connection, self._host, None
        self._lines.clear()
        if connection is not None and host is not None and host.node is not None:
            host.beside(0, self._chance.random(), connection.hang_up)

    def line_left(self, connection: _Connection, line: str, held: dict[str, str] | None) -> None:
        """Record a line that left the node, with the node's pairs at that time."""

        def heard(_: str | None) -> None:
            if connection is self._connection:
                self._lines.append((line.encode(), held))

        connection.sim.requests.ready.append((connection, Asked(None, "", heard)))

    # --- its results ----------------------------------------------------------------------------

    def _taken(self) -> None:
        """Compare the received events with the events of the nodes.

        Raises:
            InvariantError: an event came twice, too early or not at all; or the call ends too late.
        """
        late_s = 0.0 if self._until_s is None else self._now_s() - self._until_s
        if late_s > CONNECT_TIMEOUT_S + LATE_S:
            raise InvariantError(f"{self.name} waits {late_s:.3f} s longer than it was to")
        while self.machine.ready:
            self._event(self.machine.ready.popleft())
        if self._is_listing and self.machine.cursor.is_listed:
            self._listed()
        self._take()

    def _event(self, event: Event[str]) -> None:
        world, name = self._world, self.name
        if event.index < self._last:
            raise InvariantError(f"{name} gets {event} after one of {self._last}")
        self._last = event.index
        key = escape(event.key, key=True)
        value = None if event.value is None else escape(event.value, key=False)
        if value is None:
            self._pairs.pop(key, None)
        else:
            self._pairs[key] = value
        if self._is_listing:
            world.counts["machines' watches: keys"] += 1
            return
        self._skip()
        order, place = self._watching.order, self._place
        expected = order[place] if place < len(order) else None
        got = (event.index, event.kind, key, value or "")
        if expected is None or got != (*expected[:3], _as_text(expected[3])):
            raise InvariantError(f"{name} gets {got}, and not {expected}")
        self._place += 1
        world.counts["machines' watches: events"] += 1

    def _listed(self) -> None:
        """Take all keys, or their difference from the previous ones."""
        self._is_listing = False
        position = self.machine.cursor.position
        assert position is not None
        if self._held is not None and self._pairs != self._held:
            raise InvariantError(f"{self.name} has {self._pairs}, and {self._held} is there")
        order = self._watching.order
        self._place = len(order)
        while self._place and order[self._place - 1][0] > position:
            self._place -= 1

    def _skip(self) -> None:
        """Skip the events that don't match."""
        order, prefix = self._watching.order, self.prefix
        while self._place < len(order) and not order[self._place][2].startswith(prefix):
            self._place += 1


class _Connection(SimulatedConnection):
    """The connection of the watch."""

    def __init__(self, host: Host, watch: MachineWatch) -> None:
        super().__init__(host.requests.doors, host, self._left)
        self.sim = host
        self._watch = watch

    def _left(self, _: SimulatedConnection, line: str) -> None:
        held, prefix = None, self._watch.prefix
        match = BEGINS.search(line)
        if match and self.sim.stepper.watchers.feed.history.last == int(match[2]):
            pairs = self.sim.manager.store.held.items()
            held = {key: _as_text(value_of(one)) for key, one in pairs if key.startswith(prefix)}
        self._watch.line_left(self, line, held)


def _as_text(value: str) -> str:
    """Return a value as a program reads it, written again: one with a type becomes a text."""
    return escape(real(value), key=False) if value.startswith(TYPED) else value
