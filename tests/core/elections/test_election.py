"""How a leader is made, and what ends it: §5.1, §5.2; PreVote, thesis §9.6."""

from __future__ import annotations

from itertools import count

import pytest

from raftline.raft.effects import HardState
from raftline.raft.election import become_leader
from raftline.raft.inputs import Receive, Tick
from raftline.raft.log import Log, SafetyError
from raftline.raft.membership import Membership
from raftline.raft.messages import (
    AppendRejected,
    RequestVote,
    RequestVoteReply,
)
from raftline.raft.node import node_from_disk
from raftline.raft.roles import Role
from raftline.raft.state import Options
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    acknowledge,
    append,
    candidate_of,
    established,
    node_of,
    terms_of,
)


def test_a_node_boots_as_a_follower_and_waits_out_its_timeout() -> None:
    node = node_of("s1")
    assert node.view.role is Role.FOLLOWER
    assert node.wake_at_ms == TIMEOUT_MS
    effects = node.step(Tick(), TIMEOUT_MS - 1)
    assert not effects.send_after_save
    assert node.view.role is Role.FOLLOWER


def test_candidate_votes_for_itself_in_a_new_term() -> None:
    """It requests the votes of all voters."""
    node = node_of("s1", 1, 2)
    asked = node.step(Tick(), TIMEOUT_MS)
    assert asked.send_after_save == [
        RequestVote("s1", peer, 3, 2, 2, pre_vote=True) for peer in ("s2", "s3")
    ]
    assert (node.view.term, asked.save) == (2, None)
    stood = node.step(Receive(RequestVoteReply("s2", "s1", 3, True, pre_vote=True)), TIMEOUT_MS)
    assert stood.save == HardState(3, "s1")
    assert stood.send_after_save == [RequestVote("s1", peer, 3, 2, 2) for peer in ("s2", "s3")]


@pytest.mark.parametrize(("voters", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (7, 4)])
def test_candidate_needs_the_votes_of_a_majority(voters: int, needed: int) -> None:
    names = [f"s{number}" for number in range(1, voters + 1)]
    node = candidate_of("s1", voters=names)
    votes = 1
    for peer in names[1:]:
        assert node.view.is_leader is (votes >= needed)
        node.step(Receive(RequestVoteReply(peer, "s1", node.view.term, True)), TIMEOUT_MS)
        votes += 1
    assert node.view.is_leader


def test_the_winner_prints_its_vote_table() -> None:
    node = candidate_of("s1")
    effects = node.step(Receive(RequestVoteReply("s2", "s1", 1, True)), TIMEOUT_MS)
    assert "[*] I am Leader" in effects.notes
    assert "{'s1': True, 's2': True, 's3': False}" in effects.notes


def test_candidate_retries_in_a_new_term_after_a_new_timeout() -> None:
    picks = count(150, 10)
    node = node_from_disk(
        "s1",
        Membership(("s1", "s2", "s3")),
        Log(),
        HardState(0, None),
        OPTIONS,
        lambda: next(picks),
        0,
    )
    node.step(Tick(), 150)
    assert node.wake_at_ms == 150 + 160
    node.step(Receive(RequestVoteReply("s2", "s1", 1, True, pre_vote=True)), 155)
    assert node.wake_at_ms == 155 + 170
    asked = node.step(Tick(), 155 + 170)
    assert asked.send_after_save[0] == RequestVote("s1", "s2", 2, 0, 0, pre_vote=True)


@pytest.mark.pure
def test_only_a_candidate_becomes_leader() -> None:
    node = node_of("s1")
    with pytest.raises(SafetyError):
        become_leader(node.view)  # type: ignore[arg-type]


def test_heartbeat_interval_is_at_most_a_third_of_the_timeout() -> None:
    """One step sends the heartbeats to all followers."""
    assert Options().heartbeat_ms * 3 <= Options().election_timeout_ms
    node = established("s1", voters=("s1", "s2", "s3", "s4", "s5"))
    effects = node.step(Tick(), node.wake_at_ms)
    assert [message.to for message in effects.send] == ["s2", "s3", "s4", "s5"]


def test_an_earlier_leader_is_refused_and_gets_the_term() -> None:
    node = node_of("s2", 1, term=6)
    effects = node.step(Receive(append(4, (1, 1), 4, commit=2)), 10)
    assert effects.send_after_save == [AppendRejected("s2", "s1", 6, 1, 0)]
    assert (terms_of(node), node.view.commit_index, node.view.leader) == ([1], 0, None)


def test_no_tenure_ends_a_leadership_that_works() -> None:
    node = established("s1")
    for _ in range(500):
        node.step(Tick(), node.wake_at_ms)
        for peer in ("s2", "s3"):
            acknowledge(node, peer)
    assert (node.view.is_leader, node.view.term) == (True, 1)


@pytest.mark.parametrize("late_term", [3, 4, 6])
def test_a_prevote_of_another_election_counts_for_nothing(late_term: int) -> None:
    node = node_of("s1", term=4)
    node.step(Tick(), TIMEOUT_MS)
    assert node.view.role is Role.PRE_CANDIDATE
    node.step(Receive(RequestVoteReply("s2", "s1", late_term, True, pre_vote=True)), TIMEOUT_MS)
    assert (node.view.role, node.view.term) == (Role.PRE_CANDIDATE, 4)
    node.step(Receive(RequestVoteReply("s2", "s1", 5, True, pre_vote=True)), TIMEOUT_MS)
    assert (node.view.role, node.view.term) == (Role.CANDIDATE, 5)


@pytest.mark.parametrize(
    ("voters", "lease_ms", "wakes_at_ms"),
    [(("s1",), 0, 0), (("s1",), 150, 150), (("s2",), 0, TIMEOUT_MS), ((), 0, TIMEOUT_MS)],
)  # fmt: skip
def test_a_lone_voter_stands_as_soon_as_its_promises_allow(
    voters: tuple[str, ...], lease_ms: int, wakes_at_ms: int
) -> None:
    node = node_of("s1", 1, voters=voters, lease_ms=lease_ms)
    assert node.wake_at_ms == wakes_at_ms
    node.step(Tick(), wakes_at_ms)
    assert node.view.is_leader == (voters == ("s1",))
