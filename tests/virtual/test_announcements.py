"""Builds that are announced over a network that loses lines."""

from __future__ import annotations

import pytest

from raftline.net.peers import peers
from raftline_testing.virtual.schedule import SimulationFailed, run

SEED = 43  # loses announcements on connections that stand until the end


def test_node_asks_again_for_a_build_that_was_lost() -> None:
    counts = run(SEED).counts
    assert counts["announcements lost"] > 0
    assert counts["builds asked for again"] > 0


def test_cluster_needs_that_its_nodes_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "ASK_AGAIN_S", 3600.0)
    with pytest.raises(SimulationFailed, match="does not have an identity"):
        run(SEED)
