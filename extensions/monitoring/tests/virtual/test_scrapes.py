"""Scrapes of simulated nodes: figures that are wrong are found."""

from __future__ import annotations

import pytest

from raftline_testing.virtual.schedule import SimulationFailed, run
from raftline_testing.virtual.seeds import counts_of
from raftline_testing.virtual.watches import onlookers

STEPS = 3000
COVERED = ("nodes that were ready", "not ready", "scrapes")


@pytest.fixture(autouse=True)
def onlookers_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onlookers, "SHARE", 1.0)


@pytest.mark.slow
def test_figures_that_fall_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    falling = iter(range(10**6, 0, -1))
    monkeypatch.setattr(
        "raftline.monitoring.metrics.process_facts",
        lambda: {"cpu_seconds_total": ("counter", "Processor time", float(next(falling)))},
    )
    with pytest.raises(SimulationFailed, match="these fell"):
        run(0, steps=STEPS)


@pytest.mark.slow
def test_scrapes_see_nodes_that_are_ready_and_others() -> None:
    counts = counts_of(0, 6, steps=STEPS)
    assert [name for name in COVERED if not counts[name]] == []
