"""The clock of a node, and the sleep of the thread that keeps time.

This is the one module of its room that reads a clock.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from ..common.derived import mypyc_attr
from ..common.timeofday import time_of_day

# Leases need a clock that goes on while the machine sleeps; Linux has one.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@mypyc_attr(allow_interpreted_subclasses=True)
class Clock:
    """The times that a node goes by. The parts of a node are given one, so that a test or a
    schedule sets the time."""

    def now_ms(self) -> int:
        """Return the time for deadlines, of the core and of leases, in milliseconds. It never goes
        back, and jumps of the wall clock don't move it."""
        return time.clock_gettime_ns(_CLOCK) // 1_000_000

    def now_s(self) -> float:
        """Return the time by which durations within a process are measured, in seconds."""
        return time.monotonic()

    def reader_s(self) -> Callable[[], float]:
        """Return `now_s` for those who ask it for each entry: the system's own function, if this
        is the system's clock."""
        return time.monotonic if type(self) is Clock else self.now_s

    def day_s(self) -> float:
        """Return the time of day, in seconds since 1970. It is for people, who compare it with that
        of other machines; nothing is decided by it."""
        return time_of_day()

    def used_s(self) -> float:
        """Return the processor time of this process, in seconds."""
        return time.process_time()


SYSTEM: Final = Clock()


class OwnerSleep:
    """Until when the driver's owner thread sleeps, and its earlier end.

    The owner sets these under the driver's `core` lock. Any thread may look at them: it may be
    a moment old, and then wakes the owner for nothing.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` ends the sleep, or the next one before it begins."""
        self.wake = wake
        self.until_s = 0.0  # by the clock's now_s; 0: awake
        self.until_ms = 0  # the deadline among its reasons, by the clock's now_ms
        self.is_for_a_group = False  # it ends when requests that gather are to be served

    def begin(self) -> None:
        """Have each request wake the owner, until it is known how long this sleep may be."""
        self.is_for_a_group, self.until_s = False, math.inf

    def end(self) -> None:
        """Record that the owner is awake."""
        self.until_s, self.until_ms = 0.0, 0
