"""Several schedules, each by its seed: what happens in them, and the first that fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from .drawing import run_or_draw
from .schedule import SimulationFailed, run


def counts_of(first: int, count: int, **asked: Any) -> Counter[str]:
    """Return how often each thing happened in so many schedules."""
    counts: Counter[str] = Counter()
    for seed in range(first, first + count):
        counts += run_or_draw(seed, **asked).counts
    return counts


def first_failure(seeds: Iterable[int], **asked: Any) -> str:
    """Return the first line of the first failure; "" if there is none."""
    for seed in seeds:
        try:
            run(seed, **asked)
        except SimulationFailed as failed:
            return str(failed).splitlines()[0]
    return ""
