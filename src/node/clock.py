"""The clock of a node, and the sleep of the thread that keeps time.

No other module of this folder reads a clock.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from ..common.mypyc_compat import mypyc_attr
from ..common.time_of_day import time_of_day

# Leases need a clock that keeps running while the machine sleeps; Linux has one.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@mypyc_attr(allow_interpreted_subclasses=True)
class Clock:
    """The clock of a node. Each part of the node gets it as an argument, so that a test or a
    schedule can set the time."""

    def now_ms(self) -> int:
        """Return the time for deadlines of the core and of leases, in milliseconds. It never goes
        backwards, and changes to the wall clock don't affect it."""
        return time.clock_gettime_ns(_CLOCK) // 1_000_000

    def now_s(self) -> float:
        """Return the time for measuring durations within a process, in seconds."""
        return time.monotonic()

    def reader_s(self) -> Callable[[], float]:
        """Return `now_s` for callers that read it for each entry: the system's own function, if
        this is the system's clock."""
        return time.monotonic if type(self) is Clock else self.now_s

    def day_s(self) -> float:
        """Return the time of day, in seconds since 1970. It is only for people, who compare it
        with the time on other machines; no decision depends on it."""
        return time_of_day()

    def used_s(self) -> float:
        """Return the processor time of this process, in seconds."""
        return time.process_time()


SYSTEM: Final = Clock()


class OwnerSleep:
    """The time until which the driver's owner thread sleeps, and a way to wake it earlier.

    The owner sets the times under the driver's `core` lock. Any thread may read them: they may be
    a moment old, and then it wakes the owner unnecessarily.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` ends the sleep, or the next one before it begins."""
        self.wake = wake
        self.until_s = 0.0  # by the clock's now_s; 0: awake
        self.until_ms = 0  # the earliest deadline, by the clock's now_ms
        self.is_for_a_group = False  # the sleep ends when gathered requests are served

    def begin(self) -> None:
        """Make each request wake the owner, until the length of this sleep is known."""
        self.is_for_a_group, self.until_s = False, math.inf

    def end(self) -> None:
        """Record that the owner is awake."""
        self.until_s, self.until_ms = 0.0, 0
