"""Holders of leases over real sockets, and the check that none of their leases ends early.

All of them want the key `held`. Its holder may keep it until SECONDS after it first sent the
request that was answered last, by the clock that runs while this machine sleeps. So no two may hold
it at a time. An observer reads the key throughout: it must exist while it is held.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..nodes.cluster import NodeProcess
from ..workloads.holder_machine import HolderMachine, LeaseBeliefs
from ..workloads.line_request import LineRequest
from ..workloads.mix import Mix
from ..workloads.workload_machine import Answer, Rest, Steps, WorkloadMachine
from .workload import MachineThread, Workload

KEY = "held"
PATIENCE_S = 1.0
PAUSE_MS = 20
RENEWALS = (0, 1, 4, 12)  # so that the key often has another holder
_RUNS = itertools.count(1)  # so that no name is used twice, nor the numbers of its requests
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_s() -> float:
    return time.clock_gettime(_CLOCK)


def now_ms() -> float:
    return 1000 * now_s()


@dataclass
class Hold:
    """A period in which a holder believed that it held the key."""

    lease: str
    begin_s: float  # the answer came
    until_s: float  # by the last answer
    seconds: int = 0
    renewed_s: float = 0.0  # the last answer, to the grant or a renewal, came
    is_sure: bool = True  # each renewal was sent once and answered: none arrives later


@dataclass
class Look:
    """A read of the key: its value at some moment between the two times."""

    asked_s: float
    answered_s: float
    lease: str  # "" if there was no key
    term: int = 0  # the term of the node that answered, or a later one; 0: unknown


@dataclass
class Notes(LeaseBeliefs):
    """All observations of the holders and the observer."""

    holds: list[Hold] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    _granted: dict[str, Hold] = field(default_factory=dict)  # leases that are not given up
    _put: set[str] = field(default_factory=set)  # leases that have had the key

    def confirmed(self, name: str, seconds: int, sent: float) -> None:
        until_s, at_s = sent / 1000 + seconds, now_s()
        hold = self._granted.setdefault(name, Hold(name, at_s, until_s, seconds, at_s))
        hold.until_s, hold.renewed_s = max(hold.until_s, until_s), at_s
        self.counts["renewed"] += name in self._put

    def put(self, name: str) -> None:
        hold = self._granted[name]
        hold.begin_s = now_s()
        if hold.begin_s < hold.until_s:
            self.counts["holds"] += 1
            self._put.add(name)
            self.holds.append(hold)

    def refused(self, name: str) -> None:
        hold, at_s = self._granted[name], now_s()
        if name in self._put and at_s < hold.until_s:
            self.problems.append(f"{hold} at {at_s}: there is no such lease")
        self.counts["lost"] += 1

    def given_up(self, name: str) -> None:
        hold = self._granted.pop(name)
        hold.until_s = min(hold.until_s, now_s())

    def repeats(self, name: str) -> None:
        if name in self._granted:
            self._granted[name].is_sure = False

    def forgotten(self, name: str) -> None:
        self.counts["fell silent"] += name in self._put

    def findings(self) -> list[str]:
        """Return each moment at which a lease had ended and was still held."""
        problems = []
        holds = sorted(self.holds, key=lambda hold: hold.begin_s)
        for place, hold in enumerate(holds):
            for later in holds[place + 1 :]:
                if later.begin_s >= hold.until_s:
                    break
                problems.append(f"two hold the key at {later.begin_s:.3f}: {hold} and {later}")
            for look in self.looks:
                is_within = hold.begin_s <= look.asked_s and look.answered_s < hold.until_s
                if is_within and look.lease != hold.lease:
                    problems.append(f"{hold} was gone: {look}")
        return problems


class Observer(WorkloadMachine):
    """A client that reads the key again and again, and asks the node that answered for its term."""

    def __init__(self, name: str, notes: Notes) -> None:
        super().__init__(name)
        self._notes = notes

    def steps(self) -> Steps:
        """Read until it is stopped."""
        while not self.stopped:
            asked_s = now_s()
            read: Answer = yield LineRequest(self, f"get {KEY}", asked_s, in_log=False)
            answered_s = now_s()
            if read.kind == "done":
                word, _, value = read.reply.partition(": ")
                told: Answer = yield LineRequest(self, "status", answered_s, in_log=False)
                status = told.reply.partition(": ")[2]
                term = int(json.loads(status)["term"]) if status else 0
                lease = value if word == "GET response" else ""
                self._notes.looks.append(Look(asked_s, answered_s, lease, term))
            else:
                self.leader = read.leader
            yield Rest(PAUSE_MS, is_exact=True)


@contextlib.contextmanager
def holders(nodes: Sequence[NodeProcess], count: int) -> Iterator[Notes]:
    """Run holders and an observer for a while; yield what they believe and see."""
    mix, run = Mix(patience_s=PATIENCE_S), next(_RUNS)
    workload, notes = Workload(nodes, 0, mix, f"holders {run}"), Notes()
    names = [f"holder{number}.{run}" for number in range(count)]
    machines: list[WorkloadMachine] = [
        HolderMachine(name, random.Random(name), now_ms, notes, notes.counts, KEY, RENEWALS)
        for name in names
    ]
    for machine in (*machines, Observer("observer", notes)):
        workload.add(MachineThread(machine, nodes, mix, workload.seed))
    with workload:
        yield notes
