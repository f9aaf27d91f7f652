"""Backups, listings, scrapes and observers in schedules of faults: true, and without an effect."""

from __future__ import annotations

from typing import Any

import pytest

from raftline.tools.status import status
from raftline.tools.status.status import AskEach
from raftline_testing.runner.at_night import at_night, in_the_rest
from raftline_testing.virtual.schedule import SimulationFailed, run
from raftline_testing.virtual.seeds import counts_of, first_failure
from raftline_testing.virtual.watches import onlookers

STEPS = 3000
COVERED = (
    "backups over lines",
    "lines observed",
    "listings over lines",
    "looks that saw service",
    "looks without",
    "nodes without a status",
    "nodes that were ready",
    "not ready",
    "pages of listings that went on",
    "scrapes",
)


@pytest.fixture(autouse=True)
def onlookers_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onlookers, "SHARE", 1.0)


@pytest.mark.parametrize(("first", "count"), [(0, 1), in_the_rest(0, 6), *at_night((100, 300))])
def test_who_looks_sees_what_is_there_and_changes_nothing(first: int, count: int) -> None:
    counts = counts_of(first, count, steps=STEPS)
    assert count == 1 or [name for name in COVERED if not counts[name]] == []


@pytest.mark.nightly
def test_a_status_that_takes_a_minority_for_a_quorum_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("raftline.tools.status.status_report.majority", lambda half: 1)
    assert "InvariantError: status reports" in first_failure(range(20, 60), steps=STEPS)


@pytest.mark.slow
def test_a_status_that_asks_a_node_twice_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def twice(members: Any, timeout_s: float) -> Any:
        nodes = yield AskEach(members, timeout_s)
        nodes |= yield AskEach(members, timeout_s)
        return list(nodes.values())

    monkeypatch.setattr(status, "gathering", twice)
    assert "InvariantError: status asks twice" in first_failure(range(17, 60), steps=STEPS)


@pytest.mark.slow
def test_figures_that_fall_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    falling = iter(range(10**6, 0, -1))
    monkeypatch.setattr(
        "raftline.monitoring.metrics.process_facts",
        lambda: {"cpu_seconds_total": ("counter", "Processor time", float(next(falling)))},
    )
    with pytest.raises(SimulationFailed, match="these fell"):
        run(0, steps=STEPS)
