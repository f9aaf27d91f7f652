"""Those who look at simulated nodes and change nothing: backups and listings over connections,
scrapes of /metrics and /health, and observers. In some schedules.

A backup is the state after the entry that it names, and holds all that was acknowledged before. A
page of a listing has each key that it is to have. Each scrape parses, no counter falls before the
node is started again, and no scrape changes anything. An observer's lines never go back.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Generator, Sequence
from io import BytesIO
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from raftline.node.measures import node_facts
from raftline.raft.node import StepObserver
from raftline.raft.view import NodeView
from raftline.state.pairs import key_bytes, text_bytes
from raftline.storage.snapshotfile import no_pause
from raftline.storage.snapshotlines import SnapshotReader
from raftline.wire.keyfacts import value_of
from raftline.wire.protocol import split_sender, unescape
from tests.invariants import InvariantError
from tests.virtual.lines import Connected
from tests.virtual.requests import Asked
from tests.virtual.world import World

if TYPE_CHECKING:
    from tests.virtual.host import Host

SHARE = 1 / 8  # of schedules
BACKUP = re.compile(r"BACKUP response: ([0-9]+)-([0-9]+) of ([0-9]+) bytes crc32 ([0-9a-f]{8})")
ENDED = re.compile(r"UNOBSERVE response: ended after ([0-9]+) lines?")
SAMPLE = re.compile(r"(\w+(?:\{[^{}]*\})?) (-?[0-9.e+-]+)")
TYPE = re.compile(r"# TYPE (\w+) (counter|gauge|histogram)")
GATHER_MS = 10  # of steps that are observed
WINDOWS = (None, None, 200, 3000)


class Seen(NamedTuple):
    """The facts of a node as a line left it."""

    applied: int
    held: dict[str, str]
    level: int


Job = Generator[str, tuple[str, Seen], None]  # yields a command, is sent its reply


class LookingConnection(Connected):
    """A connection whose client asks one thing after the other."""

    def __init__(self, host: Host, heard: Callable[[str, Seen], None]) -> None:
        super().__init__(host.requests.doors, host, self._line_left)
        self._heard = heard

    def _line_left(self, _: Connected, line: str) -> None:
        manager = self._sim.manager
        seen = Seen(manager.applied.index, dict(manager.store.held), manager.store.level)
        text = split_sender(line)[2]

        def heard(_: str | None) -> None:
            if not self.is_over:
                self._heard(text, seen)

        self._sim.requests.ready.append((self, Asked(None, "", heard)))


class Looker:
    """Takes backups and lists keys, each on a connection of its own."""

    def __init__(self, world: World, chance: Random, hosts: Sequence[Host]) -> None:
        self._world = world
        self._chance = chance
        self._hosts = hosts
        self._host = hosts[0]
        self._connection: LookingConnection | None = None
        self._job: Job | None = None
        self._wait()

    def _wait(self) -> None:
        self._world.beside(self._chance.randint(1, 300), self._chance.random(), self._act)

    def _act(self) -> None:
        self._wait()
        connection, chance = self._connection, self._chance
        is_up = connection is not None and not connection.is_over
        if is_up and self._job is not None and chance.random() < 0.9:
            return  # it goes on by itself
        if connection is not None and is_up:
            self._host.beside(0, chance.random(), connection.hang_up)
        self._connection = self._job = None
        host = self._host = chance.choice(self._hosts)
        if host.node is not None and not host.paused:
            self._connection = LookingConnection(host, self._hear)
            host.requests.keep(self._connection)
            self._job = self._back_up() if chance.random() < 0.5 else self._list()
            self._send(next(self._job))

    def _send(self, command: str) -> None:
        connection, chance = self._connection, self._chance
        if connection is not None:
            line = f"looker@{command}\n".encode()
            self._host.beside(chance.randint(0, 5), chance.random(), connection.receive, line)

    def _hear(self, reply: str, seen: Seen) -> None:
        if self._job is None:
            return
        try:
            self._send(self._job.send((reply, seen)))
        except StopIteration:
            self._job = None

    def _back_up(self) -> Job:
        host, least = self._host, self._host.requests.acknowledged_index
        reply, seen = yield "backup"
        if reply.startswith("Sorry, "):
            return
        found = BACKUP.fullmatch(reply)
        if found is None or int(found[1]) != seen.applied or seen.applied < least:
            raise InvariantError(f"{host.name} at {seen.applied} backs up {reply}; {least} counts")
        data = b""
        while True:
            reply, _ = yield f"backup from {len(data)}"
            text = reply.removeprefix(f"BACKUP response: from {len(data)} ")
            piece = str(json.loads(text)).encode("utf-8", "surrogateescape")
            if not piece or len(data) > int(found[3]):
                break
            data += piece
        if len(data) != int(found[3]) or f"{crc32(data):08x}" != found[4]:
            raise InvariantError(f"{host.name} says {found[0]} and sends {len(data)} bytes")
        loaded = SnapshotReader(BytesIO(data), no_pause).read()
        pairs = {key: value_of(held) for key, held in loaded.pairs.items()}
        expected = {key: value_of(held) for key, held in seen.held.items()}
        if loaded.snapshot.index != seen.applied or pairs != expected:
            raise InvariantError(f"{host.name} backs up {pairs}, and has {expected}")
        self._world.counts["backups over lines"] += 1

    def _list(self) -> Job:
        host, chance = self._host, self._chance
        prefix, after = chance.choice(["", "", "a", "bank"]), chance.choice(["", "", "a", "b", "c"])
        least = host.requests.acknowledged_index
        words = ["show", prefix, f"after {after}" if after else ""]
        reply, seen = yield " ".join(filter(None, words))
        if reply.startswith("Sorry, "):
            return
        order = key_bytes if seen.level >= 3 else text_bytes
        expected = {
            unescape(key): unescape(value_of(held))
            for key, held in seen.held.items()
            if key.startswith(prefix) and (not after or order(unescape(key)) > order(after))
        }
        found = json.loads(reply.removeprefix("SHOW response: "))
        if found != expected or seen.applied < least:
            raise InvariantError(f"{host.name} lists {found}, and has {expected}; {least} counts")
        self._world.counts["listings over lines"] += 1


class Scraper:
    """Reads the pages of /metrics and /health, of one node and then of another."""

    def __init__(self, world: World, chance: Random, hosts: Sequence[Host]) -> None:
        self._world = world
        self._chance = chance
        self._hosts = hosts
        self._last: dict[str, tuple[int, dict[str, float]]] = {}  # of each node
        self._wait()

    def _wait(self) -> None:
        self._world.beside(self._chance.randint(1, 300), self._chance.random(), self._scrape)

    def _scrape(self) -> None:
        from raftline.monitoring.pages import Pages

        self._wait()
        host = self._chance.choice(self._hosts)
        if host.node is None or host.paused or host.is_applying_apart:
            return
        pages, before = Pages(), _state_of(host)
        pages.serve(_as_server(host))
        health, metrics = pages.by_path["/health"](), pages.by_path["/metrics"]()
        if (health.status, metrics.status) != (200, 200):
            raise InvariantError(f"{host.name} is well, and reports {health} and {metrics.status}")
        if _state_of(host) != before:
            raise InvariantError(f"a scrape changes {host.name}: {before}, {_state_of(host)}")
        self._look_at(host, metrics.text)
        self._world.counts["scrapes"] += 1

    def _look_at(self, host: Host, text: str) -> None:
        grow: dict[str, float] = {}
        kind = ""
        for line in text.splitlines():
            if found := TYPE.fullmatch(line):
                kind = found[2]
            elif sample := SAMPLE.fullmatch(line):
                if kind != "gauge":
                    grow[sample[1]] = float(sample[2])
            elif not line.startswith("# HELP "):
                raise InvariantError(f"{host.name} has {line!r} among its figures")
        incarnation, last = self._last.get(host.name, (0, {}))
        if incarnation == host.incarnation:
            fallen = [name for name, value in last.items() if grow.get(name, value) < value]
            if fallen:
                raise InvariantError(f"of {host.name} these fell: {fallen}")
        self._last[host.name] = host.incarnation, grow


def _state_of(host: Host) -> tuple[object, ...]:
    assert host.node is not None
    view = host.node.view
    facts = node_facts(view, host.clock.now_ms())
    return facts, view.now_ms, host.node.wake_at_ms, host.queue.waiting(), host.writes.count


def _as_server(host: Host) -> Any:
    """Return a node as the pages of monitoring see it."""
    assert host.node is not None
    facts = node_facts(host.node.view, host.clock.now_ms())
    driver = SimpleNamespace(
        core=threading.Lock(),
        node=host.node,
        measures=host.measures,
        watchers=host.stepper.watchers,
        has_written=False,
        status=lambda: {**facts, "log_bytes": host.manager.log_bytes, "syncs": 0},
        waiting=lambda: {**host.queue.waiting(), "disk": host.writes.count},
    )
    return SimpleNamespace(
        name=host.name,
        driver=driver,
        node=host.node,
        is_down=False,
        exit_status=0,
        level=host.manager.level,
        access=None,
        logmanager=host.manager,
        listener=SimpleNamespace(traffic=lambda: (0, 0, 0, 0)),
        book=SimpleNamespace(traffic=dict),
    )


class ObservedNode:
    """A node as its observers see it. Its invariants observe it, too."""

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


class StepWatcher:
    """An observer of one node, and then of another."""

    def __init__(self, world: World, chance: Random, hosts: Sequence[Host]) -> None:
        self._world = world
        self._chance = chance
        self._hosts = hosts
        self._host = hosts[0]
        self._connection: LookingConnection | None = None
        self._observers: dict[str, tuple[int, Any]] = {}
        self._lines = 0
        self._ends = False  # an unobserve was sent
        self._last: tuple[float, int, int, int] = (0.0, 0, 0, 0)
        self._is_json = False
        self._wait()

    def _wait(self) -> None:
        self._world.beside(self._chance.randint(1, 100), self._chance.random(), self._act)

    def _act(self) -> None:
        self._wait()
        connection, chance = self._connection, self._chance
        if connection is None or connection.is_over:
            self._begin()
        elif connection.held:
            size = chance.randint(1, connection.held)
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
        host.requests.doors.observers = self._observers_of(host)

        def hear(text: str, seen: Seen) -> None:
            if self._connection is connection:  # the last lines of another one may be on their way
                self._hear(text, seen)

        connection = self._connection = LookingConnection(host, hear)
        connection.window = chance.choice(WINDOWS)
        host.requests.keep(connection)
        self._is_json = chance.random() < 0.7
        words = ["observe", "json" if self._is_json else "", "all" if chance.random() < 0.5 else ""]
        line = f"looker@{' '.join(filter(None, words))}\n"
        host.beside(0, chance.random(), connection.receive, line.encode())

    def _observers_of(self, host: Host) -> Any:
        """Return the observers of this start of a node; an event is their thread."""
        from raftline.node.observers import Observers

        incarnation, known = self._observers.get(host.name, (0, None))
        if incarnation == host.incarnation:
            return known
        observers: Any = Observers(host.name, self._complain, host.clock)
        node: Any = ObservedNode(host)
        observers.follow(node, threading.Lock())
        observers.begin_sending = lambda: True
        observers.wake = lambda: host.beside(GATHER_MS, 0.5, observers.send_gathered)
        self._observers[host.name] = host.incarnation, observers
        return observers

    def _complain(self, what: str) -> None:
        raise InvariantError(what)

    def _hear(self, text: str, _: Seen) -> None:
        if text.startswith(("OBSERVE response: ", "OBSERVED ")):
            self._lines += 1
            self._world.counts["lines observed"] += 1
            if self._is_json:
                self._look_at(json.loads(text.partition("{")[1] + text.partition("{")[2]))
        elif found := ENDED.fullmatch(text):
            if int(found[1]) != self._lines:
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


class Onlookers:
    """All of them, in some schedules."""

    def __init__(self, world: World, hosts: Sequence[Host], seed: int) -> None:
        chance = Random(f"onlookers {seed}")
        self.all: list[object] = []
        if chance.random() < SHARE:
            self.all = [
                Looker(world, chance, hosts),
                Scraper(world, chance, hosts),
                StepWatcher(world, chance, hosts),
            ]
