"""The times that a program gives: int, float or timedelta. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeAlias

Seconds: TypeAlias = float | timedelta


def seconds_in(time: Seconds, what: str) -> float:
    """Return a time in seconds. Raises TypeError if it is not a time."""
    if isinstance(time, timedelta):
        return time.total_seconds()
    if isinstance(time, bool) or not isinstance(time, int | float):
        kind = type(time).__name__
        raise TypeError(f"{what} is a number of seconds or a timedelta, not {kind}")
    return time
