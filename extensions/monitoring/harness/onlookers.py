"""Scrapes of /metrics, /health and /ready in the schedules with onlookers.

Each scrape parses, no counter falls before the node is restarted, and no scrape changes anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any

from raftline.common.process.mutex import Mutex
from raftline.monitoring.endpoints import Pages, readiness
from raftline.net.protocol.host import Batch
from raftline.net.protocol.refusal_counts import RefusalCounts
from raftline.net.protocol.waits import AwaitReplies
from raftline.node.disk_room import DiskSpace
from raftline.node.loop.measures import node_facts
from raftline.node.loop.quota import Quota
from raftline_testing.invariants import InvariantError
from raftline_testing.virtual.nodes.simulated_node import Host
from raftline_testing.virtual.watches.onlookers import Onlooker, Scene
from raftline_testing.virtual.world.world import World

SAMPLE = r"\w+(?:\{[^{}]*\})? -?[0-9.e+-]+\n"
FAMILY = re.compile(rf"(?:# HELP .*\n)?# TYPE \w+ (counter|gauge|histogram)\n((?:{SAMPLE})*)")
PAUSE_MS = 300  # the longest between two looks
HURRY_MS = 10  # between two requests until each node has reported ready, once the cluster is healed

Asking = Generator[AwaitReplies, bool, Any]


def look_on(scene: Scene) -> list[Onlooker]:
    """Make one client scrape the nodes of a schedule."""
    chance = Random(f"scrapes {scene.seed}")
    return [Scraper(scene.world, chance, scene.hosts)] if scene.is_chosen else []


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
        elif not host.is_applying_offloaded:
            self._scrape(host)

    def see_ready(self, names: Sequence[str]) -> bool:
        """Ask often from now on; return whether each of these nodes has reported since then that it
        serves."""
        if not names:
            return False
        if not self._is_healed:
            self._is_healed = True
            self._ready.clear()
        is_so = self._ready.issuperset(names)
        self._longest_ms = PAUSE_MS if is_so else HURRY_MS
        return is_so

    def _ask_ready(self, host: Host) -> None:
        """Ask whether a node serves, as the page /ready does. Its machine creates the batch and
        waits for it."""
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
    view, now_ms = host.node.view, host.clock.now_ms()
    facts = node_facts(view, now_ms)
    driver = SimpleNamespace(
        core=Mutex(host.stepper),
        node=host.node,
        measures=host.measures,
        watchers=host.stepper.watchers,
        has_written=False,
        status=lambda: {**facts, "log_bytes": host.manager.log_bytes, "syncs": 0},
        apply_waits_s=lambda: view.apply_waits_ms(now_ms) / 1000,
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
