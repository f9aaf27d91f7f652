"""Clients that observe the steps of nodes, in the schedules with onlookers and in those with users.

An observer's lines never go back, and none is sent once its right is gone.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from raftline.picture.live.observers import ObserverRegistry
from raftline.raft.node import StepObserver
from raftline.raft.node_view import NodeView
from raftline.wire.protocol import split_sender
from raftline_testing.invariants import InvariantError
from raftline_testing.virtual.nodes.node_connections import SimulatedConnection
from raftline_testing.virtual.nodes.simulated_node import Host
from raftline_testing.virtual.nodes.users_at_node import ADMIN, NAMES, Guest, UsersAtNode, is_denial
from raftline_testing.virtual.watches.looking import LookingConnection, Seen
from raftline_testing.virtual.watches.onlookers import Onlooker, Scene
from raftline_testing.virtual.world.chance import up_to
from raftline_testing.virtual.world.world import World

ENDED = re.compile(r"UNOBSERVE response: ended after ([0-9]+) lines?")
GATHER_MS = 10  # how long observed steps gather
WINDOWS = (None, None, 200, 3000)


def look_on(scene: Scene) -> list[Onlooker]:
    """Make clients observe the nodes of a schedule, and one that logs in where there are users."""
    chance = Random(f"observers {scene.seed}")
    if scene.is_chosen:
        for _ in range(chance.choice([1, 2])):
            StepWatcher(scene.world, chance, scene.hosts)
    if scene.users_at:
        GuestObserver(scene.world, chance, scene.users_at)
    return []


class ObservedNode:
    """A node as its observers, including the invariants, see it."""

    def __init__(self, host: Host) -> None:
        assert host.node is not None
        self.view: NodeView = host.node.view
        self._host = host

    @property
    def observer(self) -> StepObserver | None:
        return self._host.observing.next

    @observer.setter
    def observer(self, one: StepObserver | None) -> None:
        self._host.observing.next = one


def observers_of(host: Host) -> Any:
    """Return the observers of this start of a node; an event replaces their thread."""
    doors = host.requests.doors
    if doors.observed_incarnation != host.incarnation:

        def complain(what: str) -> None:
            raise InvariantError(what)

        observers: Any = ObserverRegistry(host.name, complain, host.clock)
        node: Any = ObservedNode(host)
        observers.follow(node, threading.Lock())
        observers.begin_sending = lambda: True
        observers.wake = lambda: host.beside(GATHER_MS, 0.5, observers.send_gathered)
        doors.observed_incarnation, doors.observers = host.incarnation, observers
    return doors.observers


class StepWatcher:
    """An observer of one node, and then of another."""

    def __init__(self, world: World, chance: Random, hosts: Sequence[Host]) -> None:
        self._world = world
        self._chance = chance
        self._hosts = hosts
        self._host = hosts[0]
        self._connection: LookingConnection | None = None
        self._lines = 0
        self._ends = False  # an unobserve was sent
        self._last: tuple[float, int, int, int] = (0.0, 0, 0, 0)
        self._is_json = False
        self._wait()

    def _wait(self) -> None:
        self._world.beside(1 + up_to(99, self._chance), self._chance.random(), self._act)

    def _act(self) -> None:
        self._wait()
        connection, chance = self._connection, self._chance
        if connection is None or connection.is_over:
            self._begin()
        elif connection.held:
            size = 1 + up_to(connection.held - 1, chance)
            self._host.beside(0, chance.random(), connection.take, size)
        elif not self._ends and chance.random() < 0.1:
            self._ends = True
            self._host.beside(0, chance.random(), connection.receive, b"looker@unobserve\n")
        elif chance.random() < 0.02:
            self._host.beside(0, chance.random(), connection.hang_up)
            self._connection = None

    def _begin(self) -> None:
        self._connection = None
        host, chance = self._chance.choice(self._hosts), self._chance
        if host.node is None or host.paused:
            return
        self._host, self._lines, self._ends, self._last = host, 0, False, (0.0, 0, 0, 0)
        observers_of(host)

        def hear(text: str, seen: Seen) -> None:
            # the last lines of another connection may be in flight
            if self._connection is connection:
                self._hear(text, seen)

        connection = self._connection = LookingConnection(host, hear, sees=False)
        connection.window = chance.choice(WINDOWS)
        host.requests.keep(connection)
        self._is_json = chance.random() < 0.7
        words = ["observe", "json" if self._is_json else "", "all" if chance.random() < 0.5 else ""]
        line = f"looker@{' '.join(filter(None, words))}\n"
        host.beside(0, chance.random(), connection.receive, line.encode())

    def _hear(self, text: str, _: Seen) -> None:
        if text.startswith(("OBSERVE response: ", "OBSERVED ")):
            self._lines += 1
            self._world.counts["lines observed"] += 1
            if self._is_json:
                self._look_at(json.loads(text.partition("{")[1] + text.partition("{")[2]))
        elif match := ENDED.fullmatch(text):
            if int(match[1]) != self._lines:
                raise InvariantError(f"{self._lines} lines came, and then: {text}")
            self._connection = None
        else:
            raise InvariantError(f"an observer of {self._host.name} gets {text!r}")

    def _look_at(self, state: dict[str, Any]) -> None:
        at_s = float(state.get("at", state.get("clock", 0.0)))
        now = at_s, int(state["term"]), int(state["commit"]), int(state["applied"])
        if any(one < before for one, before in zip(now, self._last, strict=True)):
            raise InvariantError(f"an observer of {self._host.name}: {now} after {self._last}")
        self._last = now


class GuestObserver:
    """A client that logs in at a node with users and observes it, and then at another."""

    def __init__(self, world: World, chance: Random, users_at: Mapping[Host, UsersAtNode]) -> None:
        self._world = world
        self._chance = chance
        self._users_at = users_at
        self._connection: GuestObserving | None = None
        self._wait()

    def _wait(self) -> None:
        self._world.beside(self._chance.randint(1, 200), self._chance.random(), self._act)

    def _act(self) -> None:
        self._wait()
        connection, chance = self._connection, self._chance
        if connection is not None and not connection.is_over and chance.random() < 0.9:
            return
        host, users = chance.choice(list(self._users_at.items()))
        if host.node is None or host.paused:
            return
        users.begin()
        users.doors.observers = observers_of(host)
        admins = [name for name in NAMES if users.may_now(Guest(name, None), ADMIN, None)]
        name = chance.choice(admins or NAMES)
        guest = Guest(name, users.password_of(name))
        connection = self._connection = GuestObserving(users, guest)
        users.keep(connection)
        host.requests.keep(connection)
        lines = f"looker@login {guest.name} {guest.password}\nlooker@observe json\n"
        host.beside(chance.randint(0, 5), chance.random(), connection.receive, lines.encode())


class GuestObserving(SimulatedConnection):
    """The connection of such an observer: it gets no line once the node has seen that the
    right is gone, and it ends for no other reason."""

    def __init__(self, users: UsersAtNode, guest: Guest) -> None:
        super().__init__(users.doors, users.host, self._line_left)
        self._users = users
        self._trying = guest
        self._guest: Guest | None = None
        self._since = users.version
        self._has_begun = False
        self._is_refused = False

    def rights_changed(self) -> None:
        had_ended = self.is_over or self.has_hung_up
        super().rights_changed()
        if had_ended or not self._has_begun:
            return
        may = self._users.may_now(self._guest, ADMIN, None)
        self._is_refused = not may
        self._users.hold("an observer", {may}, was_done=not self.has_hung_up)
        self._users.world.counts["observers that lost their rights"] += not may

    def _line_left(self, _: SimulatedConnection, line: str) -> None:
        text = split_sender(line)[2]
        may = self._users.may(self._guest, ADMIN, None, self._since)
        if text.startswith("LOGIN "):
            self._guest = self._trying
        elif text.startswith("OBSERVE "):
            self._users.hold("an observer", may, was_done=True)
            self._has_begun = True
        elif is_denial(text):
            self._users.hold("an observer", may, was_done=False)
        elif self._is_refused:
            raise InvariantError(f"{text!r} is sent, to an observer without a right")
