"""Resets of the election timeout, and the end of a leadership: §5.2; thesis §6.2, CheckQuorum."""

from __future__ import annotations

import pytest

from raftline.raft.effects import HardState
from raftline.raft.election import QUICK_RETRIES
from raftline.raft.inputs import PeerDisconnected, Receive, Tick
from raftline.raft.log import Log
from raftline.raft.membership import Membership
from raftline.raft.messages import (
    AppendAccepted,
    AppendRejected,
    Message,
    PeerError,
    RequestVote,
    RequestVoteReply,
)
from raftline.raft.node import RawNode, node_from_disk
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    acknowledge,
    append,
    established,
    node_of,
    request,
)


def test_only_a_valid_leader_or_a_vote_given_resets_the_timer() -> None:
    node = node_of("s2", 1, 2, term=6)
    ignored: list[Message] = [
        append(4, (2, 2)),  # an earlier term
        request(5, (9, 4)),  # denied: an earlier term
        request(7, (1, 1)),  # denied: a worse log
        request(9, (2, 2), pre_vote=True),
        RequestVoteReply("s3", "s2", 7, True),
        AppendAccepted("s3", "s2", 6, 2, 1),
    ]
    for message in ignored:
        node.step(Receive(message), 100)
        assert node.wake_at_ms == TIMEOUT_MS, message
    node.step(Receive(request(7, (2, 2))), 100)
    assert node.wake_at_ms == 100 + TIMEOUT_MS
    node.step(Receive(append(7, (2, 2))), 120)
    assert node.wake_at_ms == 120 + TIMEOUT_MS


@pytest.mark.parametrize("fall", ["answer of a later term", "no quorum"])
def test_a_leader_that_stepped_down_may_stand_again(fall: str) -> None:
    node = established("s1")
    if fall == "no quorum":
        while node.view.is_leader and node.view.now_ms < 10_000:
            node.step(Tick(), node.wake_at_ms)
        assert not node.view.is_leader
    else:
        node.step(Receive(AppendRejected("s2", "s1", 5, 0, 0)), node.view.now_ms)
    assert node.wake_at_ms == node.view.now_ms + TIMEOUT_MS
    effects = node.step(Tick(), node.wake_at_ms)
    assert [type(message) for message in effects.send_after_save] == [RequestVote, RequestVote]


# thesis §6.2
def test_a_leader_steps_down_only_when_no_quorum_answered_for_a_whole_timeout() -> None:
    node = established("s1")
    for _ in range(20):
        node.step(Tick(), node.wake_at_ms)
        acknowledge(node, "s3")
    assert node.view.is_leader
    heard_at_ms = node.view.now_ms
    for _ in range(20):
        effects = node.step(Tick(), node.wake_at_ms)
        if not node.view.is_leader:
            break
    assert not node.view.is_leader
    assert OPTIONS.election_timeout_ms < node.view.now_ms - heard_at_ms
    assert node.view.now_ms - heard_at_ms <= 2 * OPTIONS.election_timeout_ms
    assert "[!] s1 hears from no quorum of followers: it leads no longer" in effects.notes


def test_only_a_broken_connection_to_the_leader_starts_an_election_early() -> None:
    node = node_of("s2")
    node.step(Receive(append(1, (0, 0))), 0)
    node.step(PeerDisconnected("s3"), 10)
    assert node.wake_at_ms == TIMEOUT_MS
    node.step(PeerDisconnected("s1"), 10)
    assert 10 < node.wake_at_ms < 10 + 50
    asked = node.step(Tick(), node.wake_at_ms)
    assert asked.send_after_save[0] == RequestVote("s2", "s1", 2, 0, 0, pre_vote=True)


def test_time_that_goes_back_changes_no_timer() -> None:
    node = node_of("s2")
    node.step(Tick(), 100)
    node.step(Tick(), 50)
    assert node.view.now_ms == 100


def test_a_stranger_is_no_peer() -> None:
    node = node_of("s2")
    for sender in ("s9", "s2"):
        with pytest.raises(PeerError):
            node.step(Receive(request(9, sender=sender)), 10)
    assert node.view.term == 0


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


def test_a_heard_leader_restores_the_full_timeouts() -> None:
    node = node_of("s2")
    node.step(Receive(append(1, (0, 0))), 0)
    node.step(PeerDisconnected("s1"), 10)
    node.step(Receive(append(1, (0, 0))), 20)
    assert waits(node, 20, 3) == [TIMEOUT_MS] * 3


def drawing(name: str, *timeouts_ms: int) -> RawNode:
    """Return a node whose election timeouts are these, one after the other."""
    drawn = iter(timeouts_ms)
    log = Log()
    members = Membership(("s1", "s2", "s3"))
    state = HardState(1, None)
    return node_from_disk(name, members, log, state, OPTIONS, lambda: next(drawn), 0)


def test_each_timeout_is_drawn_anew() -> None:
    """Randomized at each restart of the timer (paper §5.2, §9.3): nodes that drew the same one once
    would split the votes for ever."""
    node = drawing("s2", 160, 200, 290, 170, 230)
    assert node.view.election_at_ms == 160
    node.step(Receive(append(1, (0, 0))), 10)
    assert node.view.election_at_ms == 10 + 200
    node.step(Receive(append(1, (0, 0))), 40)
    assert node.view.election_at_ms == 40 + 290
    node.step(Receive(request(2, (0, 0))), 330)
    assert node.view.vote == "s1"
    assert node.view.election_at_ms == 330 + 170
    node.step(Tick(), 500)
    assert node.view.election_at_ms != 500 + 170
