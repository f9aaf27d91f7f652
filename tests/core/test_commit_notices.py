"""Notices of a commit: a follower hears of it soon where no entries tell it."""

from __future__ import annotations

from raftline.raft.inputs import Propose, Receive, SnapshotTaken, Tick
from raftline.raft.log import Snapshot
from raftline.raft.messages import AppendEntries, AppendRejected, InstallSnapshot
from raftline.raft.node import RawNode
from raftline_testing.doubles.cores import OPTIONS, acknowledge, applied, compact, sync
from tests.core.test_levels import leader, raised, to

NOTICE_MS = OPTIONS.heartbeat_ms // 20


def at_rest() -> RawNode:
    """Return a leader at level 2 whose followers know all that is committed."""
    node = raised(leader())
    node.step(Tick(), node.view.now_ms + OPTIONS.heartbeat_ms)
    node.step(Tick(), node.view.now_ms + NOTICE_MS)
    for peer in node.view.peers:
        acknowledge(node, peer)
    return node


def committed(node: RawNode) -> int:
    """Have an entry committed; return its index."""
    node.step(Propose(["set a 1"]), node.view.now_ms)
    for peer in node.view.peers:
        acknowledge(node, peer)
    return node.view.commit_index


def notices(node: RawNode, after_ms: int = NOTICE_MS) -> list[tuple[str, int, int]]:
    """Let time pass; return to whom what is sent, with how many entries and which commit index."""
    sent = node.step(Tick(), node.view.now_ms + after_ms).send
    assert all(isinstance(message, AppendEntries) for message in sent)
    return [(m.to, len(m.entries), m.commit_index) for m in sent]  # type: ignore[union-attr]


def test_followers_hear_of_a_commit_long_before_the_next_heartbeat() -> None:
    node = at_rest()
    index, number = committed(node), node.view.round
    assert node.wake_at_ms == node.view.now_ms + NOTICE_MS
    assert notices(node, NOTICE_MS - 1) == []
    assert notices(node, 1) == [("s2", 0, index), ("s3", 0, index)]
    assert node.view.round == number  # so it confirms no read, and no lease
    assert node.wake_at_ms > node.view.now_ms + NOTICE_MS


def test_followers_that_entries_have_informed_get_no_notice() -> None:
    node = at_rest()
    first = committed(node)
    node.step(Propose(["set b 2"]), node.view.now_ms)
    assert notices(node) == []
    second = committed(node)
    assert second == first + 2
    assert notices(node) == [("s2", 0, second), ("s3", 0, second)]


def test_a_commit_after_the_one_of_a_notice_has_a_notice_of_its_own() -> None:
    node = at_rest()
    committed(node)
    node.step(Tick(), node.view.now_ms + NOTICE_MS - 1)
    last = committed(node)
    assert notices(node, 1) == []  # the entries of the second have announced the first
    assert notices(node, NOTICE_MS) == [("s2", 0, last), ("s3", 0, last)]


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


def test_a_leader_of_the_first_level_sends_no_notice() -> None:
    node = leader()
    committed(node)
    assert notices(node) == []


def test_a_follower_whose_entries_are_gone_from_the_log_gets_the_snapshot() -> None:
    node = at_rest()
    for _ in range(OPTIONS.window + 2):  # s3 answers nothing, so its window is full
        node.step(Propose(["set a 1"]), node.view.now_ms)
        acknowledge(node, "s2")
        sync(node)
    last = node.view.commit_index
    applied(node)
    node.step(SnapshotTaken(Snapshot(last, node.view.term, 10, 0)), node.view.now_ms)
    while compact(node, last):
        pass
    effects = node.step(Tick(), node.view.now_ms + NOTICE_MS)
    assert InstallSnapshot in {type(message) for message in to(effects, "s3")}
