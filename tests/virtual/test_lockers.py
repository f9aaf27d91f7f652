"""Clients' own locks in schedules of faults: one holder, no lease believed in after its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.at_night import at_night
from tests.virtual.drawing import run_or_draw

SCHEDULES, STEPS = 9, 3000
COVERED = (
    "locks confirmed",
    "locks got",
    "locks in vain",
    "locks lost",
    "locks set by hand",
    "renewals of lockers",
    "turns that are waited for",
    "watches of lockers",
)


def outcomes(first: int, count: int) -> Iterator[Counter[str]]:
    for seed in range(first, first + count):
        yield run_or_draw(seed, steps=STEPS, lockers=3).counts


@pytest.mark.parametrize(("first", "count"), [(0, SCHEDULES), *at_night((100, 300))])
def test_a_lock_has_one_holder_at_a_time_and_each_call_ends_in_time(first: int, count: int) -> None:
    counts: Counter[str] = Counter()
    for each in outcomes(first, count):
        counts += each
    assert [name for name in COVERED if not counts[name]] == []
