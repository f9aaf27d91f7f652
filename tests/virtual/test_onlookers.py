"""Backups, listings, scrapes and observers in schedules of faults: true, and without an effect."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.at_night import at_night
from tests.virtual import onlookers
from tests.virtual.schedule import SimulationFailed, run

STEPS = 3000
COVERED = (
    "backups over lines",
    "lines observed",
    "listings over lines",
    "nodes that were ready",
    "not ready",
    "pages of listings that went on",
    "scrapes",
)


@pytest.fixture(autouse=True)
def onlookers_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onlookers, "SHARE", 1.0)


@pytest.mark.parametrize(("first", "count"), [(0, 6), *at_night((100, 300))])
def test_who_looks_sees_what_is_there_and_changes_nothing(first: int, count: int) -> None:
    counts: Counter[str] = Counter()
    for seed in range(first, first + count):
        counts += run(seed, steps=STEPS).counts
    assert [name for name in COVERED if not counts[name]] == []


def test_figures_that_fall_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    falling = iter(range(10**6, 0, -1))
    monkeypatch.setattr(
        "raftline.monitoring.metrics.process_facts",
        lambda: {"cpu_seconds_total": ("counter", "Processor time", float(next(falling)))},
    )
    with pytest.raises(SimulationFailed, match="these fell"):
        run(0, steps=STEPS)
