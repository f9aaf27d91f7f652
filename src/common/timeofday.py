"""The time of day, for people who compare the clocks of machines. Nothing is decided by it."""

from __future__ import annotations

import time


def time_of_day() -> float:
    """Return the seconds since 1970. It can be set, and jumps."""
    return time.time()
