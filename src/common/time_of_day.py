"""The time of day, for people who compare the clocks of machines. No decision depends on it."""

from __future__ import annotations

import time


def time_of_day() -> float:
    """Return the seconds since 1970. The clock can be set, and may jump."""
    return time.time()
