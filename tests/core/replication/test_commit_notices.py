"""Notices of a commit: a follower hears of it soon where no entries tell it."""

from __future__ import annotations

from dataclasses import replace

from raftline.raft.inputs import PeerBuild, Propose, Receive, Tick
from raftline.raft.messages import AppendEntries, AppendRejected
from raftline.raft.node import RawNode
from raftline_testing.doubles.cores import OPTIONS, acknowledge, established, sync

ABOVE_FLOOR = replace(OPTIONS, cluster_if_new="9f86d081884c7d65")
NOTICE_MS = OPTIONS.heartbeat_ms // 20


def at_rest() -> RawNode:
    """Return a leader above the floor whose followers know all that is committed."""
    node = established("s1", options=ABOVE_FLOOR)
    for peer in node.view.peers:
        node.step(PeerBuild(peer, frozenset()), node.view.now_ms)
    committed(node)
    sync(node)
    node.step(Tick(), node.view.now_ms + OPTIONS.heartbeat_ms)
    node.step(Tick(), node.view.now_ms + NOTICE_MS)
    for peer in node.view.peers:
        acknowledge(node, peer)
    return node


def committed(node: RawNode) -> int:
    """Commit an entry; return its index."""
    node.step(Propose(["set a 1"]), node.view.now_ms)
    for peer in node.view.peers:
        acknowledge(node, peer)
    return node.view.commit_index


def notices(node: RawNode, after_ms: int = NOTICE_MS) -> list[tuple[str, int, int]]:
    """Pass time; return to whom what is sent, with how many entries and which commit index."""
    sent = node.step(Tick(), node.view.now_ms + after_ms).send
    assert all(isinstance(message, AppendEntries) for message in sent)
    return [(m.to, len(m.entries), m.commit_index) for m in sent]  # type: ignore[union-attr]


def test_a_heartbeat_that_is_due_as_well_stands_for_the_notice() -> None:
    node = at_rest()
    index = committed(node)
    assert notices(node, OPTIONS.heartbeat_ms) == [("s2", 0, index), ("s3", 0, index)]
    assert node.wake_at_ms > node.view.now_ms  # after a pause, too, nothing is left to do


def test_a_follower_that_is_probed_gets_no_notice() -> None:
    node = at_rest()
    number, end = node.view.round, node.view.log.last_index
    node.step(Receive(AppendRejected("s3", "s1", node.view.term, 1, number)), node.view.now_ms)
    node.step(Propose(["set a 1"]), node.view.now_ms)
    acknowledge(node, "s2")
    sync(node)
    assert notices(node) == [("s2", 0, end + 1)]
