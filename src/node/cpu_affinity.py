"""A busy node keeps its threads together on one core, and moves them when that core gets full.

One interpreter runs one thread at a time. Spread over two cores its threads wake each other across
cores for every request, and mostly to find the interpreter taken again. On one core they take turns
by themselves. That takes 0.82 to 0.95 of the processor time of a request, and gives 1.05 to 1.25
times the requests a second (docs/develop/speed.md). Since others may want that core as well, a
thread looks several times a second whether another one has more to give.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import time
from collections.abc import Callable, Collection
from typing import NamedTuple

from ..common.guarded_thread import guarded_thread
from .clock import SYSTEM

PERIOD_S = (0.1, 0.3)  # by chance, so that two nodes don't chase each other
BUSY = 0.2  # of a core; below half of it, threads may be wherever the kernel likes
SWITCHES_PER_S = 2_000  # of threads; fewer are no trouble
ADVANTAGE = 0.25  # of a core that another one must have to offer before all move there


class CpuUse(NamedTuple):
    """The use of the machine up to one moment."""

    at_s: float
    used_s: float  # processor time of this node
    switches: int  # between its threads
    idle_s: dict[int, float]  # by core


def choose(before: CpuUse, now: CpuUse, chosen: int | None) -> int | None:
    """Return the core to be on from now on, None: whichever the kernel likes.

    A node that is not busy, or whose threads don't get in each other's way, is left alone; one
    that is on a core stays there unless another has clearly more to give than this one has left
    and the node uses now.
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


def begin_to_watch(name: str, say: Callable[[str], None]) -> None:
    """Start the thread that measures, and moves the others, if there are several cores."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if len(allowed) > 1 and os.path.exists("/proc/self/task"):

        def let_go(error: Exception) -> None:
            say(f"[!] {name} looks no more which core has most to give: {error!r}")
            with contextlib.suppress(OSError):
                move_threads(allowed)

        guarded_thread(lambda: _watch(allowed), f"{name} cores", let_go).start()


def _watch(allowed: set[int]) -> None:
    chosen: int | None = None
    before: CpuUse | None = None
    while True:
        # Not allowed here, no descriptor left, another machine's cores: left to the kernel.
        with contextlib.suppress(OSError, KeyError, ValueError):
            seen, before = before, look(allowed)
            found = chosen if seen is None else choose(seen, before, chosen)
            if found != chosen:
                move_threads(allowed if found is None else {found})
            chosen = found
        time.sleep(random.uniform(*PERIOD_S))


def look(cores: Collection[int]) -> CpuUse:
    """Return what was used up to now, and of these cores left idle."""
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
    """Have every thread of this process run on these cores only; a new one begins where the one
    is that makes it."""
    for _ in range(2):  # once more for those that were begun meanwhile
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError):  # it has ended, or the kernel knows better
                os.sched_setaffinity(int(thread), cores)
