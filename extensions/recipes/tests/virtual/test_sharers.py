"""Shared locks and semaphores in schedules of faults: one alone or many, never above the limit."""

from __future__ import annotations

import pytest

from raftline_testing.runner.at_night import at_night, in_the_rest
from raftline_testing.virtual.seeds import counts_of

SCHEDULES, STEPS = 8, 3000
COVERED = ("locks that are shared", "locks that were shared before", "slots beside others")


@pytest.mark.parametrize(
    ("first", "count"), [(0, 1), in_the_rest(0, SCHEDULES), *at_night((100, 200))]
)
def test_a_lock_is_held_alone_or_shared_under_faults(first: int, count: int) -> None:
    counts = counts_of(first, count, steps=STEPS, lockers=6)
    assert count == 1 or [name for name in COVERED if not counts[name]] == []
