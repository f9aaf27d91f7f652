"""The unit in which tests hold the processor time of an entry against the work that it counts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

FACTOR: Final = 3.0  # an entry may take so many times what it counts
TRIES: Final = 30
_LOOP: Final = 20_000  # elements of the loop that is the measure
_LOOP_COUNTED: Final = 20 * _LOOP


def took(run: Callable[[], object]) -> float:
    """Return the processor time of a call."""
    begin = time.process_time()
    run()
    return time.process_time() - begin


def _loop() -> float:
    return sum([float(each.partition("=")[0]) for each in ["12=abc"] * _LOOP])


def excess_of(cost: Callable[[], tuple[float, float]]) -> str:
    """Return by how much a call takes more than it counts, or "". `cost` carries it out, and
    returns its processor time and what it has counted, in bytes. A busy machine may be slow once,
    so too much time counts if it is taken every time."""
    ratios = []
    for _ in range(TRIES):
        unit_s = max(took(_loop), 1e-4) / _LOOP_COUNTED
        took_s, counted = cost()
        ratios.append(took_s / (unit_s * counted))
        if ratios[-1] <= FACTOR:
            return ""
    return f"{min(ratios):.1f} times what it counts"
