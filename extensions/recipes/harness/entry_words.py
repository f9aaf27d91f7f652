"""Lines, seats and queues, and commands on them, for the walk over the work of entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from raftline.wire.limits import JOBS_MAX, SEATS_MAX

__all__ = ["STATES", "WORDS"]

_KEY: Final = 100  # bytes of a key of a recipe, about


def _line(mode: str, size: int) -> list[str]:
    """Return the lines after which a line of claims waits, all of one lease."""
    count = max(size // _KEY, SEATS_MAX)
    holds = [f"hold p/ {mode} lease-1/{each} v" for each in range(1, count + 1)]
    return ["hold p/ alone lease-2 v", *holds]


def _seated(size: int) -> list[str]:
    """Return the lines after which all seats are taken, and a line waits. Any client may set such
    keys, and one after the other, each claim would search for a seat."""
    seats = [f"set p/held/{each:04}/lease-1/{each} v" for each in range(1, SEATS_MAX + 1)]
    count = max(size // _KEY, SEATS_MAX)
    line = [f"set p/line/{each:019}/{SEATS_MAX}/lease-2/{each} v" for each in range(1, count + 1)]
    return [f"under lease-{1 + (' p/line/' in each)} {each}" for each in (*seats, *line)]


def _jobs(size: int) -> list[str]:
    return ["enqueue p/ job"] * max(size // _KEY, SEATS_MAX)


STATES: Final[dict[str, Callable[[int], list[str]]]] = {
    "line of one": lambda size: _line("alone", size),
    "line of readers": lambda size: _line("shared", size),
    "line of seats": lambda size: _line(str(SEATS_MAX), size),
    "line of a barrier": lambda size: _line(f"together:{SEATS_MAX}", size),
    "seats": _seated,
    "jobs": _jobs,
    "long jobs": lambda size: [f"enqueue p/ {'x' * (size - _KEY)}"] * 3,
    "jobs held": lambda size: [
        *_jobs(size),
        *[f"dequeue p/ {JOBS_MAX} 0 lease-1"] * max(1, size // _KEY // JOBS_MAX),
    ],
    "workers": lambda size: [
        f"dequeue p/ 1 0 lease-1/{each}" for each in range(1, max(size // _KEY, SEATS_MAX))
    ],
}
_NAMED: Final = " ".join(f"{each}:{each}:lease-1" for each in range(1, JOBS_MAX + 1))
WORDS: Final = {
    "hold": [
        *[f"p/ {mode} lease-2 v" for mode in ("alone", "shared", f"{SEATS_MAX}", "together:2")],
        "p/ alone now lease-3/1 v",
    ],
    "unhold": ["p/ lease-1/1", "p/ lease-1/5", "p/ lease-2", "p/ lease-3/1"],
    "abandon": ["p/ lease-1/1", "p/ lease-1", "p/ lease-2", "p/ lease-3/1"],
    "enqueue": ["p/ x"],
    "requeue": ["p/ 5"],
    "dequeue": [
        f"p/ {JOBS_MAX} 0 lease-2",
        f"p/ {JOBS_MAX} 1 now lease-2",
        "p/ 1 0 as lease-1/5 lease-2",
        f"p/ {JOBS_MAX} 0 lease-2 {_NAMED}",
    ],
}
