"""CPU affinity: a busy node keeps its threads on one core, and moves them when that core is full.

The interpreter lock lets one thread run at a time. On several cores, threads wake each other across
cores for every request, usually to find the lock taken. On one core they take turns without that
cost (docs/develop/speed.md has the figures). Other programs may use that core as well, so the main
thread checks several times a second whether another core has more idle time.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import sys
from collections.abc import Collection
from typing import NamedTuple

from ...common.process.wakeup import Wakeup
from ..clock import SYSTEM

PERIOD_S = (0.1, 0.3)  # random, so that two nodes don't chase each other
PERIODS = 5  # of a rest
BUSY = 0.2  # of a core; below half of it, the kernel places the threads
SWITCHES_PER_S = 2_000  # of threads; fewer do no harm
ADVANTAGE = 0.25  # of a core: the extra idle time of another core that justifies a move


class CpuUse(NamedTuple):
    """The processor time used on the machine up to one moment."""

    at_s: float
    used_s: float  # processor time of this node
    switches: int  # between its threads
    idle_s: dict[int, float]  # by core


def choose(before: CpuUse, now: CpuUse, chosen: int | None) -> int | None:
    """Return the core to run on from now on; None: the kernel chooses.

    A node is left alone if it is not busy, or if its threads don't get in each other's way. A node
    that is on a core stays there, unless another core clearly has more idle time than the sum of
    what is idle here and what this node uses.
    """
    passed_s = now.at_s - before.at_s
    used = (now.used_s - before.used_s) / passed_s
    switches = (now.switches - before.switches) / passed_s
    idle = {core: (now.idle_s[core] - before.idle_s[core]) / passed_s for core in now.idle_s}
    best = max(idle, key=idle.__getitem__)
    if chosen is None:
        return best if used > BUSY and switches > SWITCHES_PER_S else None
    if used < BUSY / 2:
        return None
    return best if idle[best] > idle[chosen] + used + ADVANTAGE else chosen


class CoreChooser:
    """Measures and moves the threads of this process while its main thread rests."""

    def __init__(self, allowed: set[int]) -> None:
        self._allowed = allowed
        self._chosen: int | None = None
        self._before: CpuUse | None = None

    def rest(self, end: Wakeup) -> bool:
        """Wait for `end` for about a second; return whether it was set."""
        for _ in range(PERIODS):
            if end.wait(random.uniform(*PERIOD_S)):
                return True
            # No permission, no free descriptor, unexpected core numbers: leave it to the kernel.
            with contextlib.suppress(Exception):
                last, self._before = self._before, look(self._allowed)
                best = self._chosen if last is None else choose(last, self._before, self._chosen)
                if best != self._chosen:
                    move_threads(self._allowed if best is None else {best})
                self._chosen = best
        return False


def core_chooser() -> CoreChooser | None:
    """Return a chooser if there are several cores and an interpreter lock."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    has_lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    is_useful = has_lock and len(allowed) > 1 and os.path.exists("/proc/self/task")
    return CoreChooser(allowed) if is_useful else None


def look(cores: Collection[int]) -> CpuUse:
    """Return the processor time that was used up to now, and the idle time of these cores."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    idle_s = {}
    ticks = os.sysconf("SC_CLK_TCK")
    with open("/proc/stat", encoding="ascii") as stat:
        for line in stat:
            name, *fields = line.split()
            if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in cores:
                idle_s[int(name[3:])] = (int(fields[3]) + int(fields[4])) / ticks
    used_s = usage.ru_utime + usage.ru_stime
    return CpuUse(SYSTEM.now_s(), used_s, usage.ru_nvcsw + usage.ru_nivcsw, idle_s)


def move_threads(cores: Collection[int]) -> None:
    """Restrict every thread of this process to these cores. A new thread inherits the cores of the
    thread that starts it."""
    for _ in range(2):  # a second time for threads that were started meanwhile
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError):  # the thread has ended, or the kernel refuses
                os.sched_setaffinity(int(thread), cores)
