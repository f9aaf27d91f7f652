"""ReadIndex: linearizable reads that leave nothing in the log. Thesis §6.4; paper §8."""

from __future__ import annotations

import pytest

from raftline.raft.effects import ReadReady
from raftline.raft.inputs import Read, Receive, Tick
from raftline.raft.log import SafetyError
from raftline.raft.state import APPLY_MAX
from raftline_testing.doubles.cores import (
    TIMEOUT_MS,
    acknowledge,
    append,
    applied,
    leader_of,
    node_of,
)


def test_reads_wait_for_the_state_machine() -> None:
    last = 2 * APPLY_MAX + 10
    node = leader_of("s1", *[1] * (last - 1))
    node.step(Read(["get a"]), TIMEOUT_MS)
    acknowledge(node, "s2")  # commits the no-op; the round begins
    assert acknowledge(node, "s2").reads == []
    assert (node.view.commit_index, node.view.applying) == (last, 2 * APPLY_MAX)
    assert node.step(Tick(), TIMEOUT_MS).reads == []
    assert (node.view.applied, node.view.applying) == (0, last)
    assert applied(node, last - 1).reads == []
    assert node.view.reads_wait
    assert applied(node).reads == [ReadReady("get a", last)]
    assert not node.view.reads_wait
    assert applied(node).reads == []  # once


@pytest.mark.parametrize("index", [0, 4])
def test_only_handed_out_entries_are_applied_each_once(index: int) -> None:
    node = node_of("s2", 1, 1, 1, 1)
    node.step(Receive(append(1, (4, 1), commit=3)), 0)
    applied(node, 1)
    with pytest.raises(SafetyError, match=f"entry {index} as applied, but had applied up to 1"):
        applied(node, index)
    applied(node, 3)
    assert (node.view.applied, node.view.applying) == (3, 3)


def test_a_follower_refuses_reads_at_once() -> None:
    node = node_of("s2")
    node.step(Receive(append(1, (0, 0))), 0)
    assert node.step(Read(["get a"]), 10).refused == ["get a"]
