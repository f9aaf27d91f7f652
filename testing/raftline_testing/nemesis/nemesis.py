"""Inject faults into a cluster under load, several at once, each healed in its time."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..histories import linearizable
from ..histories.linearizable import HistoryReport
from ..nodes.cluster import Cluster
from ..workloads.mix import Mix
from . import changes, faults, splits
from .scene import Busy, Fault, Finding, Scene
from .verdict import STEPS_MAX
from .workload import Workload

Kind = Callable[[Scene], Fault]

PROCESSES: Mapping[Kind, int] = {faults.kill: 5, faults.pause: 4, faults.stutter: 2, faults.stop: 3}
ANYWHERE: Mapping[Kind, int] = {
    **PROCESSES,
    faults.kill_all: 1,
    faults.damage: 5,
    splits.split: 7,
    splits.flap: 3,
    changes.transfer: 3,
    changes.demote: 2,
}
# These need a network and a disk for each node, which not every user may create.
EVERYTHING: Mapping[Kind, int] = {
    **ANYWHERE,
    faults.fill_disk: 3,
    splits.thin_out: 3,
    changes.replace_dead: 3,
    changes.exchange: 3,
}
BETWEEN_S = 1.2  # mean time between the starts of two faults
HEAL_S = 60.0  # then a fault that has not ended is a finding
TURN_S = 0.05


@dataclass
class Running:
    """A fault in progress."""

    what: str
    fault: Fault
    due_s: float


class Nemesis:
    """The injector of faults: it begins them by seeded chance, each kind once before any repeats,
    and continues the running ones. `turn` is called again and again; `heal` ends everything."""

    def __init__(
        self,
        cluster: Cluster,
        kinds: Mapping[Kind, int],
        chance: random.Random,
        say: Callable[[str], None],
        at_once: int,
    ) -> None:
        self.scene = Scene(cluster, chance, say)
        self.faults: Counter[str] = Counter()
        self.running: list[Running] = []
        self._kinds = kinds
        self._at_once = at_once
        self._first = deque(chance.sample(list(kinds), len(kinds)))
        self._next_s = 0.0

    @property
    def has_struck_each_kind(self) -> bool:
        return all(kind.__name__ in self.faults for kind in self._kinds)

    @property
    def now(self) -> str:
        """The faults in progress, in words."""
        return "; ".join(running.what for running in self.running) or "nothing"

    def turn(self) -> None:
        """Continue the faults that are due, and perhaps begin one. Raises Finding."""
        self._carry_on()
        if time.monotonic() >= self._next_s and len(self.running) < self._at_once:
            self._begin()
            wait_s = self.scene.haste * self.scene.chance.expovariate(1 / BETWEEN_S)
            self._next_s = time.monotonic() + wait_s
        self.check_processes()

    def heal(self) -> None:
        """End all faults. Raises Finding if that takes too long."""
        self.scene.hurry = True
        end_s = time.monotonic() + HEAL_S
        while self.running:
            if time.monotonic() > end_s:
                raise Finding(f"not healed after {HEAL_S:g} s: {self.now}")
            self._carry_on()
            self.check_processes()
            threading.Event().wait(TURN_S)
        self.scene.hurry = False

    def check_processes(self) -> None:
        """Raise Finding if a node has ended outside of any fault. A node that the system or another
        process killed is restarted and counted: that is a fault, too."""
        for node in self.scene.cluster.nodes:
            if not node.is_running and node.name not in self.scene.claims:
                status = node.ended()
                if status != -signal.SIGKILL:
                    raise Finding(f"{node.name} ended, status {status}\n{node.transcript()}")
                self._strike(faults.killed.__name__, faults.killed(self.scene, node))

    def _begin(self) -> None:
        chance = self.scene.chance
        if self._first:
            kind = self._first.popleft()
        else:
            [kind] = chance.choices(list(self._kinds), list(self._kinds.values()))
        try:
            self._strike(kind.__name__, kind(self.scene))
        except Busy:
            if kind.__name__ not in self.faults and kind not in self._first:
                self._first.append(kind)

    def _strike(self, name: str, fault: Fault) -> None:
        what = str(next(fault))
        self.faults[name] += 1
        self.scene.say(what)
        self.running.append(Running(what, fault, 0.0))

    def _carry_on(self) -> None:
        for running in list(self.running):
            if running.due_s <= time.monotonic() or self.scene.hurry:
                try:
                    running.due_s = time.monotonic() + float(next(running.fault))
                except StopIteration:
                    self.running.remove(running)
                    self.scene.say(f"over: {running.what}")


def torment(
    cluster: Cluster,
    seconds: float,
    seed: int,
    clients: int,
    say: Callable[[str], None],
    kinds: Mapping[Kind, int] = PROCESSES,
) -> tuple[HistoryReport, Counter[str], Counter[str]]:
    """Inject faults of these kinds into `cluster` under load for about this long, each at least
    once; return the verdict, outcomes and faults."""
    nemesis = Nemesis(cluster, kinds, random.Random(seed), say, at_once=2)
    end_s = time.monotonic() + seconds
    with Workload(cluster.nodes, clients, Mix(keys=max(3, clients // 4)), str(seed)) as workload:
        while time.monotonic() < end_s or not nemesis.has_struck_each_kind:
            nemesis.turn()
            threading.Event().wait(TURN_S)
        nemesis.heal()
        cluster.leader()
    cluster.wait_until_equal()
    say(f"checking {len(workload.history):,} operations")
    report = linearizable.check(workload.history.operations, STEPS_MAX)
    return report, workload.outcomes, nemesis.faults
