"""Runs of `raftline status` in virtual time: a wrong one is found."""

from __future__ import annotations

from typing import Any

import pytest

from raftline.tools.status import status
from raftline.tools.status.status import AskEach
from raftline_testing.virtual.seeds import counts_of, first_failure
from raftline_testing.virtual.watches import onlookers

STEPS = 3000
COVERED = ("looks that saw service", "looks without", "nodes without a status")


@pytest.fixture(autouse=True)
def onlookers_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onlookers, "SHARE", 1.0)


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
def test_looks_see_a_cluster_that_serves_and_one_that_does_not() -> None:
    counts = counts_of(0, 6, steps=STEPS)
    assert [name for name in COVERED if not counts[name]] == []
