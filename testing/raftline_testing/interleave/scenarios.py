"""Run a scenario in many interleavings. A failure names its seed; `SEED=` repeats it.

SEED=4711 python -m pytest tests/interleave/test_writer.py
"""

from __future__ import annotations

import gc
import inspect
import os
import random
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from .tasks import TaskSchedule
from .threads import POLICIES, Schedule, in_place

NIGHT_S = 1800  # for the seeds of one scenario in a night, on a busy machine
GENERATION = 200  # schedules between two collections of garbage
Scenario = Callable[[], object]  # of threads, or a coroutine function: of tasks


class Failure(NamedTuple):
    """The first failure of a scenario."""

    seed: int
    tried: int  # interleavings, including this one
    error: BaseException
    switches: Sequence[str]  # the last ones
    policy: str

    def __str__(self) -> str:
        last = "\n".join(f"    {switch}" for switch in self.switches)
        what = f"{type(self.error).__name__}: {self.error}"
        return f"SEED={self.seed} ({self.policy}), interleaving {self.tried}: {what}\n{last}"


def seeds(quick: int, night: int) -> pytest.MarkDecorator:
    """Parametrize a test with seeds: half of `quick` for `make test`, the others for `make
    test-rest`, and `night` new ones for `make nightly`."""
    first = random.SystemRandom().randrange(1 << 30)
    one = os.environ.get("SEED")
    if one is not None:
        return pytest.mark.parametrize("seeds", [[int(one)]], ids=["seed"])
    marks = (pytest.mark.nightly, pytest.mark.timeout(NIGHT_S))
    at_night = pytest.param(range(first, first + night), marks=marks)
    half = quick // 2
    others = pytest.param(range(half, quick), marks=pytest.mark.slow)
    by_lane = [range(half), others, at_night]
    return pytest.mark.parametrize("seeds", by_lane, ids=["quick", "rest", "night"])


def first_failure(
    scenario: Scenario, seeds: Iterable[int], lines_of: Sequence[ModuleType] = ()
) -> Failure | None:
    """Run a scenario with each seed; return the first failure or None."""
    kind: Any = TaskSchedule if inspect.iscoroutinefunction(scenario) else Schedule
    with in_place():
        for tried, seed in enumerate(seeds, 1):
            if kind(seed, lines_of).carry_out(scenario) is not None:
                again = kind(seed, lines_of, is_printed=True)
                error = again.carry_out(scenario)
                error = error or AssertionError("it failed, and did not with the same seed again")
                policy = POLICIES[seed % len(POLICIES)].__name__ if kind is Schedule else "Tasks"
                return Failure(seed, tried, error, again.switches, policy)
            if tried % GENERATION == 0:
                gc.collect()
    return None


def check_interleavings(
    scenario: Scenario, seeds: Iterable[int], lines_of: Sequence[ModuleType] = ()
) -> None:
    """Run a scenario with each seed.

    Raises:
        AssertionError: a run failed; the text has its seed and the last switches.
    """
    failure = first_failure(scenario, seeds, lines_of)
    if failure is not None:
        raise AssertionError(str(failure)) from failure.error
