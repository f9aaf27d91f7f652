"""Clients' own locks in schedules of faults: one holder, no lease believed in after its end."""

from __future__ import annotations

import pytest

from raftline_testing.runner.at_night import at_night, in_the_rest
from raftline_testing.virtual.seeds import counts_of

FIRST, SCHEDULES, STEPS = 10, 9, 3000
COVERED = (
    "locks confirmed",
    "locks got",
    "locks in vain",
    "locks lost",
    "locks set by hand",
    "renewals of lockers",
    "watches of lockers",
)


@pytest.mark.parametrize(
    ("first", "count"), [(0, 1), in_the_rest(FIRST, SCHEDULES), *at_night((100, 300))]
)
def test_lock_has_one_holder_and_each_call_ends_in_time(first: int, count: int) -> None:
    """A lock has one holder at a time and each call ends in time."""
    counts = counts_of(first, count, steps=STEPS, lockers=3)
    assert count == 1 or [name for name in COVERED if not counts[name]] == []
