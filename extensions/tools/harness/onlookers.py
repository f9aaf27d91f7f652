"""Runs of `raftline status`, with its own machines (`tools/status/status.py`), in the schedules
with onlookers.

Nodes are down, hang, are paused or cut off. Each look ends in time and asks each node once. It has
each answer that came in time, unchanged, and a reason for each missing one. It reports that the
cluster serves if and only if the leader and a quorum with working disks have answered. Once the
cluster is healed, it must report so.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any

from raftline.clients.connections.node_connection import Deadline
from raftline.clients.requests.one_node import Connect, NextLine, Send, Talk
from raftline.common.address import Address
from raftline.net.line_connection import ConnectionEnded
from raftline.tools.status import status
from raftline.tools.status.status import GRACE_S, AskEach, NodeStatus
from raftline.tools.status.status_report import verdict
from raftline_testing.invariants import InvariantError
from raftline_testing.virtual.nodes.simulated_node import Host
from raftline_testing.virtual.watches.looking import LookingConnection, Seen
from raftline_testing.virtual.watches.onlookers import Onlooker, Scene
from raftline_testing.virtual.world.places import first_of
from raftline_testing.virtual.world.world import World

LIMITS_S = (0.05, 0.5, 2.0)
PAUSE_MS = 600  # the longest pause between two looks
LATE = 0.05  # of connections, which are accepted too late
CHECK_MS = 10  # between two checks whether the connection has ended
Places = Mapping[Address, "Host"]


def look_on(scene: Scene) -> list[Onlooker]:
    """Make one person ask for the status of the nodes of a schedule."""
    chance = Random(f"status {scene.seed}")
    if not scene.is_chosen:
        return []
    return [StatusChecks(scene.world, chance, scene.hosts, scene.addresses)]


class SimulatedShell:
    """A conversation with one node over a simulated connection."""

    def __init__(
        self,
        world: World,
        chance: Random,
        places: Places,
        talk: Talk[Any],
        ended: Callable[[Any], None],
        late: float = LATE,
    ) -> None:
        """Create it; `late` is the share of connections that are accepted too late."""
        self.line = b""  # the last line received
        self._world = world
        self._chance = chance
        self._places = places
        self._late = late
        self._talk = talk
        self._ended = ended
        self._host: Host | None = None
        self._connection: LookingConnection | None = None
        self._lines: deque[bytes] = deque()
        self._waits = 0  # counts the waits, so that a late timer doesn't end another one
        self._go_on(None)

    def _go_on(self, answer: object, error: Exception | None = None) -> None:
        """Send the machine an answer or an error, and carry out its next steps."""
        while True:
            try:
                step = self._talk.throw(error) if error else self._talk.send(answer)
            except StopIteration as end:
                self._hang_up()
                self._ended(end.value)
                return
            answer, error = None, None
            if isinstance(step, Connect):
                self._connect(step)
                return
            if isinstance(step, Send):
                error = self._send(step.line)
                continue
            assert isinstance(step, NextLine)
            if not self._lines:
                self._later(1000 * step.until_s - self._world.now_ms, TimeoutError())
                self._look(self._waits)
                return
            answer = self.line = self._lines.popleft()

    def _connect(self, step: Connect) -> None:
        host = self._places.get(first_of(step.address))
        if host is None or host.node is None:
            self._later(1, ConnectionRefusedError(111, "Connection refused"))
        elif self._chance.random() < self._late:
            self._later(1000 * step.limit_s, TimeoutError())
        else:
            self._host, heard = host, partial(self._heard, host)
            self._connection = LookingConnection(host, heard, sees=False)
            host.requests.keep(self._connection)
            self._later(1, None, step.address)

    def _send(self, line: bytes) -> Exception | None:
        connection, host = self._connection, self._host
        if connection is None or host is None or connection.is_over:
            return ConnectionResetError(104, "Connection reset by peer")
        host.beside(0, self._chance.random(), connection.receive, line + b"\n")
        return None

    def _later(self, delay_ms: float, error: Exception | None, answer: object = None) -> None:
        self._waits += 1
        tie = self._chance.random()
        self._world.beside(max(1, round(delay_ms)), tie, self._over, self._waits, error, answer)

    def _over(self, number: int, error: Exception | None, answer: object) -> None:
        if number == self._waits:
            self._waits += 1
            self._go_on(answer, error)

    def _look(self, number: int) -> None:
        """Check now and then whether a line has arrived, or the connection has ended."""
        connection = self._connection
        if number == self._waits and self._lines:
            self.line = self._lines.popleft()
            self._over(number, None, self.line)
        elif number == self._waits and (connection is None or connection.is_over):
            self._over(number, ConnectionEnded(), None)
        elif number == self._waits:
            self._world.beside(CHECK_MS, self._chance.random(), self._look, number)

    def _heard(self, host: Host, text: str, _: Seen) -> None:
        self._lines.append(f"{host.name}@{text}".encode())

    def _hang_up(self) -> None:
        connection, host = self._connection, self._host
        if connection is not None and host is not None and not connection.is_over:
            host.beside(0, self._chance.random(), connection.hang_up)


class StatusChecks:
    """Repeated looks at the status of all nodes."""

    def __init__(
        self, world: World, chance: Random, hosts: Sequence[Host], addresses: Mapping[str, str]
    ) -> None:
        self._world = world
        self._chance = chance
        self._members = {host.name: Address.parse(addresses[host.name]) for host in hosts}
        self._places = {self._members[host.name]: host for host in hosts}
        self._is_healed = False
        self._is_served = False  # by a look that began after the cluster was healed
        self._wait()

    def see_ready(self, names: Sequence[str]) -> bool:
        """Whether a look that began after the first call reports that the cluster serves."""
        self._is_healed = True
        return self._is_served

    def _wait(self) -> None:
        longest_ms = CHECK_MS if self._is_healed and not self._is_served else PAUSE_MS
        self._world.beside(self._chance.randint(1, longest_ms), self._chance.random(), self._begin)

    def _begin(self) -> None:
        chance = self._chance
        count = len(self._members) if self._is_healed else chance.randint(1, len(self._members))
        named = {name: self._members[name] for name in chance.sample(sorted(self._members), count)}
        limit_s = max(LIMITS_S) if self._is_healed else chance.choice(LIMITS_S)
        _Look(self, named, limit_s)

    def ended(self, nodes: Sequence[NodeStatus], *, began_healed: bool) -> None:
        """Take the result of a look."""
        found = verdict(nodes)
        if found.serves is not _serves(nodes):
            raise InvariantError(f"status reports {found} of {nodes}")
        self._is_served |= began_healed and found.serves is True
        self._world.counts["looks that saw service" if found.serves else "looks without"] += 1
        self._world.counts["nodes without a status"] += sum(not each.answer for each in nodes)
        self._wait()


class _Look:
    """One run of `raftline status`."""

    def __init__(self, looks: StatusChecks, named: Mapping[str, Address], limit_s: float) -> None:
        self._looks = looks
        self._world = looks._world
        self._named = named
        self._limit_s = limit_s
        self._began_healed = looks._is_healed
        self._began_s = self._now_s()
        self._rounds = 0
        self._asked: list[str] = []
        self._shells: dict[str, SimulatedShell] = {}
        self._answers: dict[str, NodeStatus] = {}
        self._steps = status.gathering(named, limit_s)
        self._ask(next(self._steps))

    def _now_s(self) -> float:
        return self._world.now_ms / 1000

    def _ask(self, step: AskEach) -> None:
        """Ask the nodes of a step in parallel, within its time."""
        self._rounds += 1
        self._step, self._answers = step, {}
        looks, world = self._looks, self._world
        late_ms = round(1000 * (step.limit_s + GRACE_S))
        world.beside(late_ms, 0.5, self._go_on, self._rounds)
        for name, address in step.members.items():
            self._asked.append(name)
            talk = status.asking(name, address, Deadline(step.limit_s, now=self._now_s))
            ended = partial(self._take, self._rounds, name)
            late = 0.0 if looks._is_healed else LATE
            made = SimulatedShell(world, looks._chance, looks._places, talk, ended, late)
            self._shells[name] = made

    def _take(self, number: int, name: str, node: NodeStatus) -> None:
        if number != self._rounds:
            return  # it is late
        self._answers[name] = node
        if len(self._answers) == len(self._step.members):
            self._world.beside(0, 0.5, self._go_on, number)

    def _go_on(self, number: int) -> None:
        if number != self._rounds:
            return
        try:
            step = self._steps.send(self._answers)
        except StopIteration as end:
            self._rounds += 1
            self._judge(end.value)
        else:
            self._ask(step)

    def _judge(self, nodes: list[NodeStatus]) -> None:
        took_s = self._now_s() - self._began_s
        rounds = self._rounds - 1
        if took_s > rounds * (self._limit_s + GRACE_S) + 0.001 or rounds > 2:
            raise InvariantError(f"status took {took_s} s and {rounds} rounds for {self._limit_s}")
        if len(set(self._asked)) < len(self._asked):
            raise InvariantError(f"status asks twice: {self._asked}")
        if [node.name for node in nodes] != self._asked or not set(self._named) <= {*self._asked}:
            raise InvariantError(f"status asked {self._asked} and shows {nodes}")
        for node in nodes:
            sent = self._shells[node.name].line.partition(b": ")[2]
            if node.answer is not None and json.loads(sent) != node.answer:
                raise InvariantError(f"{node.name} sent {sent!r}, and status shows {node.answer}")
            if node.answer is None and not node.problem:
                raise InvariantError(f"status shows no reason for {node}")
        self._looks.ended(nodes, began_healed=self._began_healed)


def _serves(nodes: Sequence[NodeStatus]) -> bool | None:
    """Whether the leader of the highest term and enough voters have answered; None if no node
    has."""
    answers = {node.name: node.answer for node in nodes if node.answer is not None}
    if not answers:
        return None
    leaders = [each for each in answers.values() if each["role"] == "leader"]
    if not leaders:
        return False
    leader = max(leaders, key=lambda each: int(each["term"]))
    voting = {
        name
        for name, each in answers.items()
        if not any(each.get(fact) for fact in ("recovering", "may_be_new", "disk_hangs"))
    }
    halves = [leader["voters"], leader.get("outgoing") or leader["voters"]]
    return all(2 * len(voting.intersection(half)) > len(half) for half in halves)
