"""The clock of a node: the one module of this room that reads the time."""

from __future__ import annotations

import time
from typing import Final

from raftline.common.derived import mypyc_attr

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

    def used_s(self) -> float:
        """Return the processor time of this process, in seconds."""
        return time.process_time()


SYSTEM: Final = Clock()
