"""Observers of simulated nodes in some schedules, which change nothing: backups and listings over
connections, scrapes of /metrics and /health, and step observers.

A backup is the state after the entry that it names, and holds all entries acknowledged before. A
page of a listing has exactly the expected keys. Each scrape parses, no counter falls before the
node is restarted, and no scrape changes anything. An observer's lines never go back.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from io import BytesIO
from random import Random
from types import SimpleNamespace
from typing import Any
from zlib import crc32

from raftline.clients.calls.calls import CALLS
from raftline.common.process.mutex import Mutex
from raftline.common.process.wakeup import no_pause
from raftline.net.protocol.host import Batch
from raftline.net.protocol.refusal_counts import RefusalCounts
from raftline.net.protocol.waits import AwaitReplies
from raftline.node.disk_room import DiskSpace
from raftline.node.loop.measures import node_facts
from raftline.node.loop.quota import Quota
from raftline.raft.node import StepObserver
from raftline.raft.node_view import NodeView
from raftline.state import key_pages as state_pages
from raftline.state.key_index import key_bytes
from raftline.storage.snapshot_lines import SnapshotReader
from raftline.wire.key_stat import value_of
from raftline.wire.protocol import split_sender, unescape

from ...invariants import InvariantError
from ..nodes.node_connections import SimulatedConnection
from ..nodes.simulated_node import Host
from ..nodes.users_at_node import ADMIN, NAMES, Guest, UsersAtNode, is_denial
from ..world.chance import up_to
from ..world.plan import Plan
from ..world.world import World
from .looking import LookingConnection, Seen
from .statuslooks import StatusLooks

SHARE = 1 / 8  # of schedules
BACKUP = re.compile(r"BACKUP response: ([0-9]+)-([0-9]+) of ([0-9]+) bytes crc32 ([0-9a-f]{8})")
ENDED = re.compile(r"UNOBSERVE response: ended after ([0-9]+) lines?")
SAMPLE = r"\w+(?:\{[^{}]*\})? -?[0-9.e+-]+\n"
FAMILY = re.compile(rf"(?:# HELP .*\n)?# TYPE \w+ (counter|gauge|histogram)\n((?:{SAMPLE})*)")
GATHER_MS = 10  # how long observed steps gather
PAUSE_MS = 300  # the longest between two looks
HURRY_MS = 10  # between two requests until each node has reported ready, once the cluster is healed
WINDOWS = (None, None, 200, 3000)


Asking = Generator[AwaitReplies, bool, Any]
Job = Generator[str, tuple[str, Seen], None]  # yields a command, receives its reply


class Looker:
    """A client that takes backups and lists keys, each on its own connection."""

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
            return  # it continues by itself
        if connection is not None and is_up:
            self._host.beside(0, chance.random(), connection.hang_up)
        self._connection = self._job = None
        host = self._host = chance.choice(self._hosts)
        if host.node is not None and not host.paused:
            job = self._job = self._back_up() if chance.random() < 0.5 else self._list()
            self._connection = LookingConnection(host, partial(self._hear, job))
            host.requests.keep(self._connection)
            self._send(next(job))

    def _send(self, command: str) -> None:
        connection, chance = self._connection, self._chance
        if connection is not None:
            line = f"looker@{command}\n".encode()
            self._host.beside(chance.randint(0, 5), chance.random(), connection.receive, line)

    def _hear(self, job: Job, reply: str, seen: Seen) -> None:
        if job is not self._job:
            return  # it was abandoned, and its connection ends in a moment
        try:
            self._send(job.send((reply, seen)))
        except StopIteration:
            self._job = None

    def _back_up(self) -> Job:
        host, least = self._host, self._host.requests.acknowledged_index
        reply, seen = yield "backup"
        if reply.startswith("Sorry, "):
            return
        match = BACKUP.fullmatch(reply)
        if match is None or int(match[1]) != seen.applied or seen.applied < least:
            raise InvariantError(f"{host.name} at {seen.applied} backs up {reply}; {least} counts")
        data = b""
        while True:
            reply, _ = yield f"backup from {len(data)}"
            text = reply.removeprefix(f"BACKUP response: from {len(data)} ")
            piece = str(json.loads(text)).encode("utf-8", "surrogateescape")
            if not piece or len(data) > int(match[3]):
                break
            data += piece
        if len(data) != int(match[3]) or f"{crc32(data):08x}" != match[4]:
            raise InvariantError(f"{host.name} says {match[0]} and sends {len(data)} bytes")
        loaded = SnapshotReader(BytesIO(data), no_pause).read()
        pairs = {key: value_of(held) for key, held in loaded.pairs.items()}
        expected = {key: value_of(held) for key, held in seen.held.items()}
        if loaded.snapshot.index != seen.applied or pairs != expected:
            raise InvariantError(f"{host.name} backs up {pairs}, and has {expected}")
        self._world.counts["backups over lines"] += 1

    def _list(self) -> Job:
        """List keys page by page, as `kv.items` does."""
        host, chance = self._host, self._chance
        prefix, after = chance.choice(["", "", "a", "bank"]), chance.choice(["", "", "a", "b", "c"])
        throughout: set[str] | None = None
        listed: list[str] = []
        while True:
            least, call = host.requests.acknowledged_index, CALLS.page(prefix, after)
            reply, seen = yield call.command
            if reply.startswith("Sorry, "):
                return
            page, expected = call.read(reply), _listing(seen, prefix, after)
            size, what = state_pages.PAGE_KEYS, f"{call.command} of {host.name}: {reply}"
            if seen.applied < least or page.pairs != expected[:size]:
                raise InvariantError(f"{what}, and it has {expected}; {least} counts")
            if page.is_last is not (len(expected) <= size):
                raise InvariantError(f"{what} ends, or does not: it has {expected}")
            there = {key for key, _ in expected} | set(listed)
            throughout = there if throughout is None else throughout & there
            listed += [key for key, _ in page.pairs]
            if page.is_last:
                break
            after = page.after
            self._world.counts["pages of listings that went on"] += 1
        if len(listed) > len(set(listed)) or throughout - set(listed):
            raise InvariantError(f"{host.name} lists {listed}; it had {throughout} all the time")
        self._world.counts["listings over lines"] += 1


def _listing(seen: Seen, prefix: str, after: str) -> list[tuple[str, str]]:
    """Return all expected pairs of a listing after that key."""
    found = {unescape(key): unescape(value_of(held)) for key, held in seen.held.items()}
    keys = [key for key in found if key.startswith(prefix)]
    keys = [key for key in keys if not after or key_bytes(key) > key_bytes(after)]
    return [(key, found[key]) for key in sorted(keys, key=key_bytes)]


class Notice:
    """A listener for the answer to a batch, instead of a waiting thread."""

    user: str | None = None

    def __init__(self, answered: Callable[[], None]) -> None:
        self.mark_ready = answered

    def keep(self, batch: Batch, replies: list[str]) -> list[str]:
        return replies

    def flush(self) -> None: ...
    def break_off(self) -> None: ...


class Scraper:
    """A client that reads /metrics, /health and /ready, of one node and then of another."""

    def __init__(self, world: World, chance: Random, hosts: Sequence[Host]) -> None:
        self._world = world
        self._chance = chance
        self._hosts = hosts
        self._last: dict[str, tuple[int, dict[str, float]]] = {}  # last figures of each node
        self._longest_ms = PAUSE_MS
        self._is_healed = False
        self._ready: set[str] = set()  # nodes that reported ready since the cluster was healed
        self._wait()

    def _wait(self) -> None:
        delay_ms = self._chance.randint(1, self._longest_ms)
        self._world.beside(delay_ms, self._chance.random(), self._act)

    def _act(self) -> None:
        self._wait()
        host = self._chance.choice(self._hosts)
        if host.node is None or host.paused:
            return
        if self._chance.random() < 0.5 or self._longest_ms == HURRY_MS:
            host.beside(0, self._chance.random(), self._ask_ready, host)
        elif not host.is_applying_apart:
            self._scrape(host)

    def are_ready(self, names: Sequence[str]) -> bool:
        """Ask often from now on; return whether each of these nodes has reported since then that it
        serves."""
        if not self._is_healed:
            self._is_healed = True
            self._ready.clear()
        is_so = self._ready.issuperset(names)
        self._longest_ms = PAUSE_MS if is_so else HURRY_MS
        return is_so

    def _ask_ready(self, host: Host) -> None:
        """Ask whether a node serves, as the page /ready does. Its machine creates the batch and
        waits for it."""
        from raftline.monitoring.endpoints import readiness

        least, server, asked = host.requests.acknowledged_index, _as_server(host), list[Batch]()
        server.submit = asked.append
        steps: Asking = readiness(server)

        def go_on(*, has_come: bool) -> None:
            if asked:
                batch = asked.pop()
                batch.reply_sink = None
                confirmed = least if has_come and batch.reader is not None else None
                try:
                    steps.send(has_come)
                except StopIteration as end:
                    self._take_answer(host, end.value, confirmed)

        try:
            wait = next(steps)
        except StopIteration as end:
            self._take_answer(host, end.value, None)
        else:
            (batch,) = asked
            batch.reply_sink = Notice(partial(go_on, has_come=True))
            host.beside(int(1000 * wait.within_s), 0.5, partial(go_on, has_come=False))
            host.requests.doors.submit(batch)

    def _take_answer(self, host: Host, answer: Any, confirmed: int | None) -> None:
        """Take an answer of /ready. `confirmed` is the acknowledged index before the request; None:
        no leader has confirmed it."""
        if answer.status == 200:
            if confirmed is None or host.manager.applied.index < confirmed:
                raise InvariantError(f"{host.name} is ready, and {confirmed} was confirmed")
            self._ready.add(host.name)
        self._world.counts["nodes that were ready" if answer.status == 200 else "not ready"] += 1

    def _scrape(self, host: Host) -> None:
        from raftline.monitoring.endpoints import Pages

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
        end = 0
        while match := FAMILY.match(text, end):
            end = match.end()
            for sample in match[2].splitlines() if match[1] != "gauge" else ():
                name, _, value = sample.rpartition(" ")
                grow[name] = float(value)
        if end < len(text):
            raise InvariantError(f"{host.name} has {text[end : end + 80]!r} among its figures")
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
    """Return a node as the monitoring pages see it."""
    assert host.node is not None
    facts = node_facts(host.node.view, host.clock.now_ms())
    driver = SimpleNamespace(
        core=Mutex(host.stepper),
        node=host.node,
        measures=host.measures,
        watchers=host.stepper.watchers,
        has_written=False,
        status=lambda: {**facts, "log_bytes": host.manager.log_bytes, "syncs": 0},
        stalled_s=lambda: host.stepper.stall.look(host.clock.now_ms()) / 1000,
        waiting=lambda: {**host.queue.waiting(), "disk": host.writes.count},
    )
    return SimpleNamespace(
        name=host.name,
        clock=host.clock,
        driver=driver,
        node=host.node,
        is_down=False,
        exit_status=0,
        level=host.manager.level,
        access=None,
        tls=None,
        logmanager=host.manager,
        listener=SimpleNamespace(traffic=lambda: (0, 0, 0, 0), connections_max=1),
        foreigners=SimpleNamespace(seen=dict),
        lost_files=[],
        lacks_users=False,
        room_facts=lambda: {"lacks_room_for": "", "refuses_entries": ""},
        refusals=RefusalCounts(),
        book=SimpleNamespace(traffic=dict),
        quota=Quota(host.manager.store, DiskSpace()),
    )


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
    from raftline.picture.live.observers import Observers

    doors = host.requests.doors
    if doors.observed_incarnation != host.incarnation:

        def complain(what: str) -> None:
            raise InvariantError(what)

        observers: Any = Observers(host.name, complain, host.clock)
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

    def __init__(self, world: World, chance: Random, users_at: dict[Host, UsersAtNode]) -> None:
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


class Onlookers:
    """All onlookers, in some schedules."""

    def __init__(
        self,
        world: World,
        plan: Plan,
        hosts: Sequence[Host],
        users_at: dict[Host, UsersAtNode],
        addresses: Mapping[str, str],
        seed: int,
    ) -> None:
        """Create the onlookers; `users_at` is for observers that log in."""
        chance = Random(f"onlookers {seed}")
        self._scraper: Scraper | None = None
        self._status: StatusLooks | None = None
        self.page_keys = state_pages.PAGE_KEYS
        if chance.random() < SHARE:
            Looker(world, chance, hosts)
            self._scraper = Scraper(world, chance, hosts)
            for _ in range(chance.choice([1, 2])):
                StepWatcher(world, chance, hosts)
            self._status = StatusLooks(world, Random(f"status {seed}"), hosts, addresses)
            if not plan.dealers:  # because dealers read all accounts in one page
                self.page_keys = chance.choice([1, 2, self.page_keys])
        if users_at:
            GuestObserver(world, chance, users_at)

    def see_ready(self, names: Sequence[str]) -> bool:
        """Whether all these nodes, once asked, have reported that they serve, and `raftline status`
        agrees."""
        if self._scraper is None or self._status is None:
            return True
        is_ready, serves = bool(names) and self._scraper.are_ready(names), self._status.serves()
        return is_ready and serves
