"""A node whose state differs is found in a simulated cluster, whatever gave it another state."""

from __future__ import annotations

from itertools import product

import pytest

from raftline.raft import agreement
from raftline.raft.messages import AppendEntries, Difference
from raftline.raft.progress import Progress
from raftline.raft.state import State
from raftline_testing.invariants import InvariantError
from raftline_testing.runner.at_night import at_night, in_the_rest
from raftline_testing.runner.parts import whole
from raftline_testing.virtual.faults.divergence import KINDS, run_divergence

QUICK, REST = [*zip(KINDS, (0, 1, 2), strict=True)], [*zip(KINDS, (3, 4, 5), strict=True)]
OTHERS = [case for case in product(KINDS, range(14)) if case not in QUICK + REST]
CASES = [*QUICK, *(in_the_rest(*case) for case in REST), *at_night(*OTHERS)]


@whole
@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_a_planted_divergence_is_found_and_mended(kind: str, seed: int) -> None:
    counts = run_divergence(kind, seed, nodes=3 + 2 * (seed % 2))
    assert counts["nodes that differ"] + counts["states replaced before"] == 1


@pytest.mark.parametrize(
    ("kind", "seed"), [CASES[0], *(in_the_rest(*case) for case in CASES[1:3]), *CASES[3:]]
)
def test_nobody_is_condemned_while_too_few_are_there(kind: str, seed: int) -> None:
    """As many nodes as possible are away around a divergence, which may strike the leader."""
    run_divergence(kind, seed, nodes=3 + 2 * (seed % 2), away=True)


@pytest.mark.pure  # a function of a compiled module can't be replaced
@pytest.mark.judge
@pytest.mark.parametrize(("kind", "seed"), [("machine", 4), ("entry", 7)])
def test_a_verdict_of_the_leader_alone_is_found(
    kind: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader's own state counts after twenty election timeouts, as it once did."""

    def alone(state: State, accused: Progress) -> bool:
        sums = [each for each in (accused.entries, accused.state) if each.latest is not None]
        since_ms = min([each.since_ms for each in sums])
        return state.now_ms > since_ms + 20 * state.options.election_timeout_ms

    monkeypatch.setattr(agreement, "_is_refuted", alone)
    with pytest.raises((AssertionError, InvariantError), match=r"lost a vote|differs from entry"):
        run_divergence(kind, seed, nodes=3 + 2 * (seed % 2), away=True)


@pytest.mark.judge
@pytest.mark.pure
def test_a_told_node_that_never_knows_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leader tells the first difference, which the node has forgotten by then."""

    def forgets(state: State, message: AppendEntries, difference: Difference) -> None:
        pass

    monkeypatch.setattr(agreement, "_hear_of_difference", forgets)
    with pytest.raises(AssertionError, match="was told that it differs, and goes on"):
        run_divergence("machine", 1, nodes=5)
