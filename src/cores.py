"""A busy node keeps its threads together on one core, and moves them when that core gets full.

One interpreter runs one thread at a time. Spread over two cores its threads wake each other across
cores for every request, and mostly to find the interpreter taken again: docs/speed.md has the
figures. On one core they take turns by themselves. Since others may want that core as well, a
thread looks several times a second whether another one has more to give.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import threading
import time
from typing import NamedTuple

PERIOD_S = (0.1, 0.3)  # by chance, so that two nodes don't chase each other
BUSY = 0.35  # of a core; below half of it, threads may be wherever the kernel likes
SWITCHES_PER_S = 12_000  # of threads; fewer are no trouble
ADVANTAGE = 0.25  # of a core that another one must have to offer before all move there


class _Look(NamedTuple):
    at_s: float
    used_s: float  # processor time of this node
    switches: int
    idle_s: dict[int, float]  # by core


class Cores:
    """Watches how busy this process and the machine's cores are; see above."""

    def __init__(self) -> None:
        self._allowed = _allowed()
        self._chosen: int | None = None

    def start(self, name: str) -> None:
        """Begin, where there is a choice at all."""
        if len(self._allowed) > 1 and os.path.exists("/proc/self/task"):
            threading.Thread(target=self._run, name=f"{name} cores", daemon=True).start()

    def _run(self) -> None:
        before: _Look | None = None
        while True:
            # Not allowed here, no descriptor left, another machine's cores: left to the kernel.
            with contextlib.suppress(OSError, KeyError):
                seen, before = before, _look()
                if seen is not None:
                    self._choose(seen, before)
            time.sleep(random.uniform(*PERIOD_S))

    def _choose(self, before: _Look, now: _Look) -> None:
        passed_s = now.at_s - before.at_s
        used = (now.used_s - before.used_s) / passed_s
        switches = (now.switches - before.switches) / passed_s
        idle = {core: (now.idle_s[core] - before.idle_s[core]) / passed_s for core in self._allowed}
        best = max(idle, key=idle.__getitem__)
        if self._chosen is None:
            if used > BUSY and switches > SWITCHES_PER_S:
                self._move({best})
                self._chosen = best
        elif used < BUSY / 2:
            self._move(self._allowed)
            self._chosen = None
        elif idle[best] > idle[self._chosen] + min(used, 1.0) + ADVANTAGE:
            self._move({best})
            self._chosen = best

    def _move(self, cores: set[int]) -> None:
        for _ in range(2):  # threads that were begun meanwhile
            for thread in os.listdir("/proc/self/task"):
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread), cores)


def _allowed() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _look() -> _Look:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    idle = {}
    ticks = os.sysconf("SC_CLK_TCK")
    with open("/proc/stat", encoding="ascii") as stat:
        for line in stat:
            name, *fields = line.split()
            if name.startswith("cpu") and name != "cpu":
                idle[int(name[3:])] = (int(fields[3]) + int(fields[4])) / ticks
    used = usage.ru_utime + usage.ru_stime
    return _Look(time.monotonic(), used, usage.ru_nvcsw + usage.ru_nivcsw, idle)
