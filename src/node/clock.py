"""The clocks of a node: what deadlines are read from, and how long the owner thread sleeps."""

from __future__ import annotations

import math
import time

from raftline.common.wakeup import Wakeup

# Leases need a clock that goes on while the machine sleeps; Linux has one.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_ms() -> int:
    """The clock of deadlines, of the core and of leases: it never goes back, and wall-clock jumps
    don't move it. Durations within a process are measured by `time.monotonic`."""
    return time.clock_gettime_ns(_CLOCK) // 1_000_000


class OwnerSleep:
    """Until when the driver's owner thread sleeps, and its earlier end.

    The owner sets these under the driver's `core` lock. Any thread may look at them: it may be
    a moment old, and then wakes the owner for nothing.
    """

    def __init__(self) -> None:
        self._wakeup = Wakeup()
        self.until_s = 0.0  # by time.monotonic; 0: awake
        self.until_ms = 0  # the deadline among its reasons, by now_ms
        self.is_for_a_group = False  # it ends when requests that gather are to be served

    def begin(self) -> None:
        """Have each request wake the owner, until it is known how long this sleep may be."""
        self.is_for_a_group, self.until_s = False, math.inf

    def wait(self, pause_s: float) -> None:
        """Sleep for so long, or until `wake`."""
        if pause_s > 0:
            self._wakeup.wait(pause_s)
        self.until_s, self.until_ms = 0.0, 0

    def wake(self) -> None:
        """End the sleep, or the next one before it begins."""
        self._wakeup.set()
