"""Leases: when a leader may answer a read without asking anybody. Thesis §6.4.1."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftline.raft.effects import Effects, HardState, ReadReady
from raftline.raft.inputs import PeerDisconnected, Read, Receive, Tick, Transfer
from raftline.raft.messages import (
    AppendAccepted,
    AppendRejected,
    Message,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from raftline.raft.node import RawNode
from raftline.raft.roles import STARTS_MAX, Role
from raftline.raft.state import Options
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    append,
    applied,
    established,
    leader_of,
    node_of,
    sync,
)

LEASES = replace(OPTIONS, lease=True)
LEASE_MS = OPTIONS.election_timeout_ms * 9 // 10


def promised(node: RawNode, peer: str, now_ms: int, lease_ms: int = 150) -> Effects:
    """Let a follower answer the latest round with a promise."""
    state = node.view
    message = AppendAccepted(
        peer, "s1", state.term, state.log.last_index, state.round, lease_ms=lease_ms
    )
    return node.step(Receive(message), now_ms)


def leased(**more: object) -> RawNode:
    """Return a leader whose round, begun at TIMEOUT_MS, s2 answered ten milliseconds later."""
    node = established("s1", options=LEASES, **more)
    promised(node, "s2", TIMEOUT_MS + 10)
    return node


def follower(**more: object) -> tuple[RawNode, Message]:
    """Return a follower that has answered the leader s1 at time 0, and its answer."""
    node = node_of("s2", options=LEASES, **more)  # type: ignore[arg-type]
    effects = node.step(Receive(append(1, (0, 0), 1)), 0)
    sync(node)
    return node, effects.send_after_save[0]


def test_a_lease_runs_from_the_beginning_of_the_round_that_was_answered() -> None:
    node = leased()
    assert node.view.lease_until_ms == TIMEOUT_MS + LEASE_MS
    last = TIMEOUT_MS + LEASE_MS - 1
    assert node.step(Read(["get a"], by_lease=True), last).reads == [ReadReady("get a", 1)]
    assert node.step(Read(["get a"], by_lease=True), last + 1).reads == []


def test_without_a_lease_a_read_is_confirmed_by_a_round() -> None:
    node = leased()
    effects = node.step(Read(["get a"], by_lease=True), TIMEOUT_MS + LEASE_MS)
    assert len(effects.send) == 2
    assert promised(node, "s3", TIMEOUT_MS + LEASE_MS).reads == [ReadReady("get a", 1)]


def test_a_late_answer_makes_no_longer_lease() -> None:
    node = leased()
    promised(node, "s2", TIMEOUT_MS + 100)  # the same round
    assert node.view.lease_until_ms == TIMEOUT_MS + LEASE_MS


def test_a_quorum_must_have_promised() -> None:
    node = established("s1", options=LEASES, voters=("s1", "s2", "s3", "s4", "s5"))
    promised(node, "s2", TIMEOUT_MS + 10)
    assert node.view.lease_until_ms == 0
    promised(node, "s3", TIMEOUT_MS + 10, lease_ms=100)
    assert node.view.lease_until_ms == TIMEOUT_MS + 90


def test_an_answer_without_a_promise_makes_no_lease() -> None:
    node = established("s1", options=LEASES)
    promised(node, "s2", TIMEOUT_MS, lease_ms=0)
    assert node.view.lease_until_ms == 0


def test_a_server_that_was_not_started_for_leases_uses_none() -> None:
    node = established("s1")
    promised(node, "s2", TIMEOUT_MS)
    assert node.view.lease_until_ms == 0
    assert node.step(Read(["get a"], by_lease=True), TIMEOUT_MS).reads == []


def test_a_new_leader_uses_no_lease_before_its_no_op_is_committed() -> None:
    node = leader_of("s1", 1, 1, options=LEASES)
    term, number = node.view.term, node.view.round
    node.step(Receive(AppendAccepted("s2", "s1", term, 2, number, lease_ms=150)), TIMEOUT_MS)
    assert node.view.lease_until_ms > TIMEOUT_MS
    assert node.step(Read(["get a"], by_lease=True), TIMEOUT_MS).reads == []


def test_a_follower_without_its_log_counts_in_no_lease() -> None:
    node = leased()
    lost = AppendRejected("s2", "s1", 1, 0, node.view.round, without_vote=1)
    node.step(Receive(lost), TIMEOUT_MS + 10)
    assert node.view.lease_until_ms == 0


def test_a_transfer_ends_the_lease_for_the_whole_term() -> None:
    node = leased()
    node.step(Transfer("s3"), TIMEOUT_MS + 10)
    assert node.view.lease_until_ms == 0
    node.step(Tick(), TIMEOUT_MS + 10 + OPTIONS.election_timeout_ms)
    assert node.takes_proposals
    promised(node, "s2", node.view.now_ms)
    promised(node, "s3", node.view.now_ms)
    assert node.view.lease_until_ms == 0  # TimeoutNow may be on its way yet


def test_an_alone_node_has_an_endless_lease() -> None:
    node = established("s1", options=LEASES, voters=("s1",))
    assert node.step(Read(["get a"], by_lease=True), 10**9).reads == [ReadReady("get a", 1)]


def test_old_rounds_are_forgotten_and_the_lease_stays() -> None:
    node = established("s1", options=LEASES)
    now = TIMEOUT_MS
    for _ in range(STARTS_MAX + 10):
        now += 1
        node._state.as_leader.heartbeat_at_ms = now
        node._state.as_leader.quorum_check_at_ms = now + 10
        node.step(Tick(), now)
    assert len(node._state.as_leader.round_starts) < STARTS_MAX
    promised(node, "s2", now)
    assert node.view.lease_until_ms == now + LEASE_MS


def test_every_answer_to_a_leader_carries_the_promise() -> None:
    node, answer = follower()
    assert isinstance(answer, AppendAccepted)
    assert answer.lease_ms == OPTIONS.election_timeout_ms
    missing = node.step(Receive(append(1, (9, 1), number=2)), 20).send_after_save[0]
    assert isinstance(missing, AppendRejected)
    assert missing.lease_ms == OPTIONS.election_timeout_ms
    old = node.step(Receive(append(1, (1, 1), number=3, sender="s1")), 30).send_after_save[0]
    assert isinstance(old, AppendAccepted)


def test_no_lease_is_promised_to_a_leader_of_an_earlier_term() -> None:
    node = node_of("s2", term=5, options=LEASES)
    node._state.promised_until_ms = 0
    answer = node.step(Receive(append(1, (0, 0))), 10).send_after_save[0]
    assert isinstance(answer, AppendRejected)
    assert answer.lease_ms == 0
    assert node._state.promised_until_ms == 0


def test_a_node_without_a_vote_promises_no_lease() -> None:
    _, answer = follower(recovering=True)
    assert isinstance(answer, AppendAccepted)
    assert answer.lease_ms == 0


@pytest.mark.parametrize("pre_vote", [True, False])
def test_a_promised_vote_is_kept_when_the_connection_breaks(pre_vote: bool) -> None:
    node, _ = follower()
    node.step(PeerDisconnected("s1"), 10)
    question = RequestVote("s3", "s2", 2, 1, 1, pre_vote)
    vote = node.step(Receive(question), OPTIONS.election_timeout_ms - 1).send_after_save[0]
    assert isinstance(vote, RequestVoteReply)
    assert not vote.granted
    assert node.view.term == 1
    vote = node.step(Receive(question), OPTIONS.election_timeout_ms).send_after_save[0]
    assert isinstance(vote, RequestVoteReply)
    assert vote.granted


def test_a_node_that_promised_a_lease_does_not_stand_on_disconnection() -> None:
    node, _ = follower()
    node.step(PeerDisconnected("s1"), 10)
    assert node.wake_at_ms > OPTIONS.election_timeout_ms
    node.step(Tick(), OPTIONS.election_timeout_ms - 1)
    assert node.view.role is Role.FOLLOWER


@pytest.mark.parametrize("options", [LEASES, OPTIONS])
def test_a_promise_is_kept_after_a_restart_under_any_options(options: Options) -> None:
    node = node_of("s2", 1, options=options, lease_ms=150)
    question = RequestVote("s3", "s2", 2, 1, 1)
    vote = node.step(Receive(question), 149).send_after_save[0]
    assert isinstance(vote, RequestVoteReply)
    assert not vote.granted
    assert node.step(Receive(question), 150).send_after_save == [
        RequestVoteReply("s2", "s3", 2, True)
    ]


@pytest.mark.parametrize("options", [LEASES, OPTIONS])
def test_a_node_without_a_promise_votes_at_once_after_a_restart(options: Options) -> None:
    node = node_of("s2", 1, options=options)
    votes = node.step(Receive(RequestVote("s3", "s2", 2, 1, 1)), 0).send_after_save
    assert votes == [RequestVoteReply("s2", "s3", 2, True)]


def test_the_first_promise_is_saved_before_it_is_sent() -> None:
    node = node_of("s2", 1, options=LEASES)
    first = node.step(Receive(append(1, (1, 1))), 0)
    assert first.save == HardState(1, None, 150)
    assert [type(message) for message in first.send_after_save] == [AppendAccepted]
    assert node.step(Receive(append(1, (1, 1), number=2)), 10).save is None  # it knows by now


def test_a_longer_promise_from_before_a_restart_outlasts_a_shorter_one() -> None:
    node = node_of("s2", 1, options=LEASES, lease_ms=1000)
    assert node.wake_at_ms == 1000 + TIMEOUT_MS - OPTIONS.election_timeout_ms  # to stand itself
    node.step(Receive(append(1, (1, 1))), 10)
    node.step(PeerDisconnected("s1"), 20)
    assert node.wake_at_ms > 1000
    vote = node.step(Receive(RequestVote("s3", "s2", 2, 1, 1)), 999).send_after_save[0]
    assert isinstance(vote, RequestVoteReply)
    assert not vote.granted


def test_the_disk_forgets_a_promise_that_is_over_with_a_later_vote() -> None:
    node = node_of("s2", 1, lease_ms=150)
    assert node.step(Receive(append(2, (1, 1))), 149).save == HardState(2, None, 150)
    assert node.step(Receive(append(3, (1, 1))), 150).save == HardState(3, None, 0)
    node = node_of("s2", 1, options=LEASES, lease_ms=150)
    assert node.step(Receive(append(2, (1, 1))), 150).save == HardState(2, None, 150)


def test_a_promise_of_a_follower_that_lost_its_log_counts_no_more() -> None:
    node = leased()
    lost = AppendRejected("s2", "s1", 1, 0, node.view.round, without_vote=7)
    node.step(Receive(lost), TIMEOUT_MS + 20)
    node.view.progress["s2"].is_counted = True  # it was made whole, by a quick fence
    assert node.view.lease_until_ms == 0


def test_the_leader_itself_can_release_a_promise() -> None:
    node, _ = follower()
    assert node.step(
        Receive(RequestVote("s3", "s2", 2, 1, 1, transfer=True)), 10
    ).send_after_save == [RequestVoteReply("s2", "s3", 2, True)]
    node, _ = follower()
    node.step(Receive(TimeoutNow("s1", "s2", 1)), 10)
    assert node.view.role is Role.CANDIDATE


def test_a_read_under_a_lease_waits_for_the_state_machine() -> None:
    node = leader_of("s1", *[1] * 5000, options=LEASES)
    promised(node, "s2", TIMEOUT_MS)
    assert node.view.commit_index == 5001
    applied(node, 4096)
    assert node.step(Read(["get a"], by_lease=True), TIMEOUT_MS).send == []  # it asks nobody
    node.step(Tick(), TIMEOUT_MS + LEASE_MS)  # the lease, which was that of the read, is over
    assert applied(node).reads == [ReadReady("get a", 5001)]


def test_a_reelected_leader_may_use_leases_again() -> None:
    node = leased()
    node.step(Transfer("s3"), TIMEOUT_MS + 10)
    node.step(Receive(append(2, (1, 1), 2, sender="s3", to="s1")), TIMEOUT_MS + 20)
    sync(node)
    now = 10 * TIMEOUT_MS
    node.step(Tick(), now)
    node.step(Receive(RequestVoteReply("s2", "s1", 3, True, pre_vote=True)), now)
    node.step(Receive(RequestVoteReply("s2", "s1", 3, True)), now)
    sync(node)
    assert node.view.is_leader
    promised(node, "s2", now)
    assert node.view.lease_until_ms == now + LEASE_MS
