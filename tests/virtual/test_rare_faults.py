"""Disks that hang or are slow, files that vanish, go back or are another cluster's, and crowds."""

from __future__ import annotations

import pytest

from raftline_testing.runner.at_night import at_night
from raftline_testing.virtual.seeds import counts_of
from raftline_testing.virtual.world.plan import RARE_FAULTS

# The first seed of each fault finds the code without its mend: docs/develop/testing.md.
SEEDS = {
    "hung disk": (8, 2, 5, 7),
    "slow syncs": (46,),
    "gone log": (29,),
    "older files": (16,),
    "foreign files": (5, 7, 27),
    "crowd": (2, 9, 16),
    "leap": (0, 45),
}
EFFECTS = {
    "hung disk": "disks that hang",
    "slow syncs": "leaders judged under slow disks",
    "gone log": "logs taken",
    "older files": "older files put back",
    "foreign files": "foreign files",
    "crowd": "lines sent at once",
    "leap": "terms forged",
}


@pytest.mark.parametrize("kind", RARE_FAULTS)
def test_a_cluster_comes_through_rare_faults(kind: str) -> None:
    for seed in SEEDS[kind]:
        counts = counts_of(seed, 1, faults=[kind])
        assert counts[EFFECTS[kind]] > 0, f"seed {seed} has nothing of {kind}"


@pytest.mark.parametrize("kind", RARE_FAULTS)
@pytest.mark.parametrize(("first", "count"), at_night((0, 100)))
def test_many_schedules_come_through_rare_faults(kind: str, first: int, count: int) -> None:
    assert counts_of(first, count, faults=[kind])[EFFECTS[kind]] > 0
