"""Observers of simulated nodes: their lines never go back, and none is sent without a right."""

from __future__ import annotations

import pytest

from raftline_testing.virtual.seeds import counts_of
from raftline_testing.virtual.watches import onlookers


@pytest.mark.slow
def test_observers_of_simulated_nodes_get_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onlookers, "SHARE", 1.0)
    assert counts_of(0, 3, steps=3000)["lines observed"] > 0
