"""Backups, listings and other onlookers in schedules of faults: true, and without an effect."""

from __future__ import annotations

import pytest

from raftline_testing.runner.at_night import at_night, in_the_rest
from raftline_testing.virtual.seeds import counts_of
from raftline_testing.virtual.watches import onlookers

STEPS = 3000
COVERED = ("backups over lines", "listings over lines", "pages of listings that went on")


@pytest.fixture(autouse=True)
def onlookers_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onlookers, "SHARE", 1.0)


@pytest.mark.parametrize(("first", "count"), [(0, 1), in_the_rest(0, 6), *at_night((100, 300))])
def test_an_onlooker_sees_everything_and_changes_nothing(first: int, count: int) -> None:
    counts = counts_of(first, count, steps=STEPS)
    assert count == 1 or [name for name in COVERED if not counts[name]] == []
