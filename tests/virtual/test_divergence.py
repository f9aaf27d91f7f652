"""A node whose state differs is found in a simulated cluster, whatever gave it another state."""

from __future__ import annotations

import pytest

from raftline_testing.runner.at_night import at_night, in_the_rest
from raftline_testing.virtual.faults.divergence import KINDS, run_divergence

SEEDS = [0, 1, 2, *map(in_the_rest, range(3, 6)), *at_night(*range(6, 14))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_planted_divergence_is_found_and_mended(kind: str, seed: int) -> None:
    counts = run_divergence(kind, seed, nodes=3 + 2 * (seed % 2))
    assert counts["nodes that differ"] + counts["states replaced before"] == 1
