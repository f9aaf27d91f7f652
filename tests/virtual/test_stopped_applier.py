"""A leader that applies nothing gives way in a simulated cluster, whatever its network does."""

from __future__ import annotations

import pytest

from raftline.raft import node
from raftline_testing.runner.at_night import at_night, in_the_rest
from raftline_testing.virtual.faults.stopped_applier import run_stopped_applier

SEEDS = [0, 1, 2, *map(in_the_rest, range(3, 8)), *at_night(*range(8, 40))]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cluster_serves_though_its_leader_applies_nothing(seed: int) -> None:
    """It serves within thirty election timeouts."""
    assert run_stopped_applier(seed, nodes=3 + 2 * (seed % 2))["appliers that stop"] == 1


@pytest.mark.pure  # a function of a compiled module can't be replaced
def test_a_leader_that_stays_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "check_applying", lambda state: None)
    with pytest.raises(AssertionError, match="the cluster does not serve"):
        run_stopped_applier(0)
