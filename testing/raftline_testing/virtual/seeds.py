"""Several schedules, each by its seed: the counts of their events, and the first failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from .drawing import run_or_draw
from .schedule import SimulationFailed, run


def counts_of(first: int, count: int, **asked: Any) -> Counter[str]:
    """Return the counts of events in this many schedules."""
    counts: Counter[str] = Counter()
    for seed in range(first, first + count):
        counts += run_or_draw(seed, **asked).counts
    return counts


def first_failure(seeds: Iterable[int], **asked: Any) -> str:
    """Return the first line of the first failure; or ""."""
    for seed in seeds:
        try:
            run(seed, **asked)
        except SimulationFailed as failed:
            return str(failed).splitlines()[0]
    return ""
