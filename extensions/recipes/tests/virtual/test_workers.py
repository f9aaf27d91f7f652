"""Workers of a queue in schedules of faults: each job is delivered until done, and done once."""

from __future__ import annotations

import pytest

from raftline_testing.runner.at_night import at_night, in_the_rest
from raftline_testing.virtual.seeds import counts_of

SCHEDULES, STEPS = 8, 3000
COVERED = (
    "jobs put",
    "jobs taken again",
    "jobs done",
    "jobs lost",
    "jobs taken over",
    "takes that end jobs",
)


@pytest.mark.parametrize(
    ("first", "count"), [(0, 1), in_the_rest(0, SCHEDULES), *at_night((100, 200))]
)
def test_a_job_is_delivered_until_it_is_done_once(first: int, count: int) -> None:
    counts = counts_of(first, count, steps=STEPS, lockers=8)
    assert count == 1 or [name for name in COVERED if not counts[name]] == []
