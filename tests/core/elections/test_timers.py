"""Resets of the election timeout, and the end of a leadership: §5.2; thesis §6.2, CheckQuorum."""

from __future__ import annotations

from raftline.raft.election import QUICK_RETRIES
from raftline.raft.inputs import PeerDisconnected, Receive, Tick
from raftline.raft.node import RawNode
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    append,
    node_of,
)


def waits(node: RawNode, now_ms: int, count: int) -> list[int]:
    """Return how long the node waits before each of its next tries to be elected."""
    found = []
    for _ in range(count):
        found.append(node.wake_at_ms - now_ms)
        now_ms = node.wake_at_ms
        node.step(Tick(), now_ms)
    return found


def test_after_a_leaders_death_the_first_retries_are_quick() -> None:
    node = node_of("s2")
    node.step(Receive(append(1, (0, 0))), 0)
    node.step(PeerDisconnected("s1"), 10)
    short = 10 + (TIMEOUT_MS - OPTIONS.election_timeout_ms) // 5
    found = waits(node, 10, QUICK_RETRIES + 3)
    assert found[0] == short
    assert found[1 : QUICK_RETRIES + 1] == [40 + short] * QUICK_RETRIES
    assert found[QUICK_RETRIES + 1 :] == [TIMEOUT_MS] * 2
