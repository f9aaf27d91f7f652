"""How a leader is made, and what ends it: §5.1, §5.2; PreVote, thesis §9.6."""

from __future__ import annotations

from itertools import count

import pytest

from raftline.raft.effects import HardState
from raftline.raft.election import become_leader
from raftline.raft.inputs import Read, Receive, Tick
from raftline.raft.log import Log, SafetyError
from raftline.raft.membership import Membership
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    PeerError,
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
    leader_of,
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


def test_a_candidate_raises_its_term_votes_for_itself_and_asks_all_voters() -> None:
    node = node_of("s1", 1, 2)
    asked = node.step(Tick(), TIMEOUT_MS)
    assert asked.send_after_save == [
        RequestVote("s1", peer, 3, 2, 2, pre_vote=True) for peer in ("s2", "s3")
    ]
    assert (node.view.term, asked.save) == (2, None)
    stood = node.step(Receive(RequestVoteReply("s2", "s1", 3, True, pre_vote=True)), TIMEOUT_MS)
    assert stood.save == HardState(3, "s1")
    assert stood.send_after_save == [RequestVote("s1", peer, 3, 2, 2) for peer in ("s2", "s3")]


def test_a_candidate_saves_its_own_vote_before_it_asks_for_votes() -> None:
    node = node_of("s1")
    node.step(Tick(), TIMEOUT_MS)
    effects = node.step(Receive(RequestVoteReply("s2", "s1", 1, True, pre_vote=True)), TIMEOUT_MS)
    assert effects.save is not None
    assert effects.send == []


@pytest.mark.parametrize(("voters", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (7, 4)])
def test_a_candidate_leads_with_the_votes_of_a_majority_and_not_one_less(
    voters: int, needed: int
) -> None:
    names = [f"s{number}" for number in range(1, voters + 1)]
    node = candidate_of("s1", voters=names)
    votes = 1
    for peer in names[1:]:
        assert node.view.is_leader is (votes >= needed)
        node.step(Receive(RequestVoteReply(peer, "s1", node.view.term, True)), TIMEOUT_MS)
        votes += 1
    assert node.view.is_leader


def test_the_same_vote_twice_counts_once() -> None:
    node = candidate_of("s1", voters=("s1", "s2", "s3", "s4", "s5"))
    for _ in range(3):
        node.step(Receive(RequestVoteReply("s2", "s1", 1, True)), TIMEOUT_MS)
    assert node.view.role is Role.CANDIDATE


def test_the_winner_prints_its_vote_table() -> None:
    node = candidate_of("s1")
    effects = node.step(Receive(RequestVoteReply("s2", "s1", 1, True)), TIMEOUT_MS)
    assert "[*] I am Leader" in effects.notes
    assert "{'s1': True, 's2': True, 's3': False}" in effects.notes


def test_a_candidate_that_is_not_elected_tries_a_new_term_after_a_new_timeout() -> None:
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


def test_broadcasts_are_far_quicker_than_elections_and_go_out_together() -> None:
    assert Options().heartbeat_ms * 3 <= Options().election_timeout_ms
    node = established("s1", voters=("s1", "s2", "s3", "s4", "s5"))
    effects = node.step(Tick(), node.wake_at_ms)
    assert [message.to for message in effects.send] == ["s2", "s3", "s4", "s5"]


@pytest.mark.parametrize(
    "late",
    [
        RequestVoteReply("s2", "s1", 4, True),
        RequestVoteReply("s2", "s1", 5, True, pre_vote=True),
        RequestVoteReply("s2", "s1", 4, True, pre_vote=True),
    ],
)
def test_a_vote_of_another_election_counts_for_nothing(late: RequestVoteReply) -> None:
    node = candidate_of("s1", term=4)
    assert node.view.term == 5
    node.step(Receive(late), TIMEOUT_MS)
    assert (node.view.role, node.view.term) == (Role.CANDIDATE, 5)
    assert node.view.votes == {"s1": True}


@pytest.mark.parametrize("late_term", [3, 4, 6])
def test_a_prevote_of_another_election_counts_for_nothing(late_term: int) -> None:
    node = node_of("s1", term=4)
    node.step(Tick(), TIMEOUT_MS)
    assert node.view.role is Role.PRE_CANDIDATE
    node.step(Receive(RequestVoteReply("s2", "s1", late_term, True, pre_vote=True)), TIMEOUT_MS)
    assert (node.view.role, node.view.term) == (Role.PRE_CANDIDATE, 4)
    node.step(Receive(RequestVoteReply("s2", "s1", 5, True, pre_vote=True)), TIMEOUT_MS)
    assert (node.view.role, node.view.term) == (Role.CANDIDATE, 5)


def test_votes_are_counted_anew_in_each_election() -> None:
    node = candidate_of("s1", voters=("s1", "s2", "s3", "s4", "s5"))
    node.step(Receive(RequestVoteReply("s2", "s1", 1, True)), TIMEOUT_MS)
    node.step(Tick(), node.wake_at_ms)
    for peer in ("s4", "s5"):
        node.step(Receive(RequestVoteReply(peer, "s1", 2, True, pre_vote=True)), node.view.now_ms)
    assert (node.view.role, node.view.term) == (Role.CANDIDATE, 2)
    node.step(Receive(RequestVoteReply("s3", "s1", 2, True)), node.view.now_ms)
    assert not node.view.is_leader


def test_a_late_denial_does_not_cost_a_vote() -> None:
    node = candidate_of("s1", term=4)
    node.step(
        Receive(RequestVoteReply("s2", "s1", 4, False, reason="already voted for s3 in term 4")),
        TIMEOUT_MS,
    )
    node.step(Receive(RequestVoteReply("s2", "s1", 5, True)), TIMEOUT_MS)
    assert node.view.is_leader


def test_a_late_denial_takes_no_vote_back() -> None:
    node = candidate_of("s1", term=4, voters=("s1", "s2", "s3", "s4", "s5"))
    node.step(Receive(RequestVoteReply("s2", "s1", 5, True)), TIMEOUT_MS)
    node.step(Receive(RequestVoteReply("s2", "s1", 4, False, reason="already voted")), TIMEOUT_MS)
    node.step(Receive(RequestVoteReply("s3", "s1", 5, True)), TIMEOUT_MS)
    assert node.view.is_leader


def test_a_vote_received_never_raises_the_voters_term() -> None:
    node = leader_of("s1")
    node.step(Receive(RequestVoteReply("s3", "s1", 1, True)), TIMEOUT_MS)
    assert node.view.term == 1


@pytest.mark.parametrize(
    "message",
    [
        RequestVoteReply("s2", "s1", 9, False, reason="term 1 is over, I am in term 9"),
        RequestVoteReply("s2", "s1", 9, False, pre_vote=True, reason="term 2 is over"),
        AppendAccepted("s2", "s1", 9, 0, 0),
        AppendRejected("s2", "s1", 9, 0, 0),
        AppendEntries("s2", "s1", 9, 0, 0, [], 0, 1),
    ],
)
def test_a_higher_term_makes_a_follower_of_candidates_and_leaders(
    message: RequestVoteReply,
) -> None:
    for node in (candidate_of("s1"), leader_of("s1")):
        effects = node.step(Receive(message), TIMEOUT_MS)
        assert (node.view.role, node.view.term) == (Role.FOLLOWER, 9)
        assert effects.save == HardState(9, None)


def test_an_earlier_leader_is_refused_and_gets_the_term() -> None:
    node = node_of("s2", 1, term=6)
    effects = node.step(Receive(append(4, (1, 1), 4, commit=2)), 10)
    assert effects.send_after_save == [AppendRejected("s2", "s1", 6, 1, 0)]
    assert (terms_of(node), node.view.commit_index, node.view.leader) == ([1], 0, None)


def test_the_refusal_of_an_old_leader_confirms_no_round_of_its_new_term() -> None:
    follower = node_of("s2", 1, term=6)
    refusal = follower.step(Receive(append(4, (1, 1), number=7)), 10).send_after_save[0]
    leader = established("s1", 1, term=5)  # by now it leads term 6
    leader.step(Read(["get a"]), TIMEOUT_MS)
    assert leader.view.round <= 7
    assert leader.step(Receive(refusal), TIMEOUT_MS).reads == []


def test_a_leader_ignores_a_heartbeat_of_an_earlier_term() -> None:
    node = established("s1")
    before = (node.view.term, node.wake_at_ms)
    with pytest.raises(PeerError, match="s1 leads term 1, so s2 does not"):
        node.step(Receive(append(1, (0, 0), sender="s2", to="s1")), TIMEOUT_MS)
    assert node.view.is_leader
    effects = node.step(Receive(append(0, (0, 0), sender="s2", to="s1")), TIMEOUT_MS)
    assert node.view.is_leader
    assert (node.view.term, node.wake_at_ms) == before
    assert [message.term for message in effects.send_after_save] == [1]


def test_no_tenure_ends_a_leadership_that_works() -> None:
    node = established("s1")
    for _ in range(500):
        node.step(Tick(), node.wake_at_ms)
        for peer in ("s2", "s3"):
            acknowledge(node, peer)
    assert (node.view.is_leader, node.view.term) == (True, 1)
