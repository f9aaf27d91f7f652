"""The time of day, for people who read a console; it decides nothing, as it can be set."""

from __future__ import annotations

from datetime import datetime


def local_time() -> str:
    """Return it in milliseconds, with its distance from UTC: 2026-01-31T12:00:00.000+01:00."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")
