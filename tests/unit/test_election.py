"""Who may lead: §5.1, §5.2, §5.4.1; PreVote (thesis §9.6); CheckQuorum (thesis §6.2)."""

from __future__ import annotations

from itertools import count

import pytest

from raftline.raft.effects import HardState, SafetyError
from raftline.raft.election import become_leader
from raftline.raft.log import Log
from raftline.raft.messages import (
    Appended,
    AppendEntries,
    Missing,
    PeerError,
    RequestVote,
    Vote,
)
from raftline.raft.node import Node
from raftline.raft.state import Options, Role
from tests.unit.cores import (
    OPTIONS,
    TIMEOUT_MS,
    acknowledge,
    append,
    candidate_of,
    established,
    leader_of,
    log_of,
    node_of,
    request,
    terms_of,
)


def vote_in(messages: list[object]) -> Vote:
    (vote,) = messages
    assert isinstance(vote, Vote)
    return vote


# --- standing ------------------------------------------------------------------------------


# seed 004-28
def test_a_node_boots_as_a_follower_and_waits_out_its_timeout() -> None:
    node = node_of("s1")
    assert node.state.role is Role.FOLLOWER
    assert node.wake_at_ms == TIMEOUT_MS
    effects = node.pass_time(TIMEOUT_MS - 1)
    assert not effects.send_after_save
    assert node.state.role is Role.FOLLOWER


# seed 004-23
# seed 004-29
def test_a_candidate_raises_its_term_votes_for_itself_and_asks_everybody() -> None:
    node = node_of("s1", 1, 2)
    asked = node.pass_time(TIMEOUT_MS)
    assert asked.send_after_save == [
        RequestVote("s1", peer, 3, 2, 2, pre_vote=True) for peer in ("s2", "s3")
    ]
    assert (node.state.term, asked.save) == (2, None)
    stood = node.receive(Vote("s2", "s1", 3, True, pre_vote=True), TIMEOUT_MS)
    assert stood.save == HardState(3, "s1")
    assert stood.send_after_save == [RequestVote("s1", peer, 3, 2, 2) for peer in ("s2", "s3")]


# mistake 5
def test_a_candidates_own_vote_is_saved_before_anybody_is_asked() -> None:
    node = node_of("s1")
    node.pass_time(TIMEOUT_MS)
    effects = node.receive(Vote("s2", "s1", 1, True, pre_vote=True), TIMEOUT_MS)
    assert effects.save is not None
    assert effects.send == []


# mistake 1
@pytest.mark.parametrize(("voters", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (7, 4)])
def test_a_candidate_leads_with_the_votes_of_a_majority_and_not_one_less(
    voters: int, needed: int
) -> None:
    names = [f"s{number}" for number in range(1, voters + 1)]
    node = candidate_of("s1", voters=names)
    votes = 1
    for peer in names[1:]:
        assert node.is_leader is (votes >= needed)
        node.receive(Vote(peer, "s1", node.state.term, True), TIMEOUT_MS)
        votes += 1
    assert node.is_leader


def test_the_same_vote_twice_counts_once() -> None:
    node = candidate_of("s1", voters=("s1", "s2", "s3", "s4", "s5"))
    for _ in range(3):
        node.receive(Vote("s2", "s1", 1, True), TIMEOUT_MS)
    assert node.state.role is Role.CANDIDATE


# seed 004-25
def test_the_winner_says_so_and_shows_its_vote_table() -> None:
    node = candidate_of("s1")
    effects = node.receive(Vote("s2", "s1", 1, True), TIMEOUT_MS)
    assert "[*] I am Leader" in effects.notes
    assert "{'s1': True, 's2': True, 's3': False}" in effects.notes


# seed 004-30
def test_a_candidate_that_is_not_elected_tries_a_new_term_after_a_new_timeout() -> None:
    picks = count(150, 10)
    node = Node(
        "s1", ("s1", "s2", "s3"), Log(), HardState(0, None), OPTIONS, lambda: next(picks), 0
    )
    node.pass_time(150)
    assert node.wake_at_ms == 150 + 160
    node.receive(Vote("s2", "s1", 1, True, pre_vote=True), 155)
    assert node.wake_at_ms == 155 + 170
    asked = node.pass_time(155 + 170)
    assert asked.send_after_save[0] == RequestVote("s1", "s2", 2, 0, 0, pre_vote=True)


def test_nobody_becomes_leader_without_having_been_a_candidate() -> None:
    node = node_of("s1")
    with pytest.raises(SafetyError):
        become_leader(node.state)


# mistake 29
def test_broadcasts_are_far_quicker_than_elections_and_go_out_together() -> None:
    assert Options().heartbeat_ms * 3 <= Options().election_timeout_ms
    node = established("s1", voters=("s1", "s2", "s3", "s4", "s5"))
    effects = node.pass_time(node.wake_at_ms)
    assert [message.to for message in effects.send] == ["s2", "s3", "s4", "s5"]


# --- voting --------------------------------------------------------------------------------


# mistake 2
# mistake 5
def test_a_vote_is_saved_before_it_is_told() -> None:
    node = node_of("s2")
    effects = node.receive(request(4), 10)
    assert effects.save == HardState(4, "s1")
    assert effects.send == []
    assert vote_in(effects.send_after_save) == Vote("s2", "s1", 4, True)


# mistake 2
# seed 003-05
def test_a_vote_is_given_once_per_term_also_after_a_restart() -> None:
    node = node_of("s2")
    saved = node.receive(request(4), 10).save
    assert saved is not None
    for voter in (node, node_of("s2", term=saved.term, vote=saved.vote)):
        answer = vote_in(voter.receive(request(4, sender="s3"), 20).send_after_save)
        assert not answer.granted
        assert answer.reason == "already voted for s1 in term 4"
        assert vote_in(voter.receive(request(4), 20).send_after_save).granted


# mistake 2
def test_a_candidate_that_loses_in_its_term_keeps_its_vote_for_itself() -> None:
    node = candidate_of("s2")
    node.receive(append(1, (0, 0)), TIMEOUT_MS)
    assert (node.state.role, node.state.vote) == (Role.FOLLOWER, "s2")
    answer = vote_in(node.receive(request(1, sender="s3"), 2 * TIMEOUT_MS).send_after_save)
    assert not answer.granted


# mistake 3
def test_a_higher_term_frees_the_vote() -> None:
    node = node_of("s2", term=4, vote="s1")
    effects = node.receive(request(5, sender="s3"), 10)
    assert vote_in(effects.send_after_save).granted
    assert effects.save == HardState(5, "s3")


# mistake 3
def test_a_higher_term_in_any_message_frees_the_vote() -> None:
    node = node_of("s2", term=4, vote="s2")
    effects = node.receive(Missing("s3", "s2", 6, 0, 0), 10)
    assert effects.save == HardState(6, None)


# mistake 4
def test_term_and_vote_come_from_where_they_were_saved_not_from_the_log() -> None:
    node = node_of("s1", 1, 1, 5, term=9, vote="s3")
    assert (node.state.term, node.state.vote) == (9, "s3")
    assert not vote_in(
        node.receive(request(9, (9, 8), sender="s2"), 10).send_after_save
    ).granted


# mistake 4
def test_a_log_of_a_later_term_than_the_saved_one_is_refused() -> None:
    with pytest.raises(SafetyError):
        Node("s1", ("s1",), log_of(5), HardState(4, None), OPTIONS, lambda: 150, 0)


# mistake 6
# seed 003-05
@pytest.mark.parametrize(
    ("last", "granted"),
    [((3, 2), True), ((4, 2), True), ((1, 3), True), ((2, 2), False), ((9, 1), False)],
)
def test_the_vote_goes_to_a_log_that_is_at_least_as_good(
    last: tuple[int, int], granted: bool
) -> None:
    for pre_vote in (True, False):
        node = node_of("s2", 1, 2, 2, term=4)
        answer = vote_in(node.receive(request(5, last, pre_vote=pre_vote), 10).send_after_save)
        assert answer.granted is granted
        assert granted or answer.reason.startswith("log not up to date")


# seed 003-05
# seed 001-11
def test_a_candidate_of_an_earlier_term_is_denied_and_hears_the_later_one() -> None:
    node = node_of("s2", term=6)
    answer = vote_in(node.receive(request(5), 10).send_after_save)
    assert (answer.granted, answer.term) == (False, 6)
    assert answer.reason == "term 5 is over, I am in term 6"


# thesis §9.6
def test_a_prevote_changes_neither_term_nor_vote_nor_timer() -> None:
    node = node_of("s2", term=4, vote="s3")
    effects = node.receive(request(9, pre_vote=True), 120)
    assert vote_in(effects.send_after_save) == Vote("s2", "s1", 9, True, pre_vote=True)
    assert (effects.save, node.state.term, node.state.vote) == (None, 4, "s3")
    assert node.wake_at_ms == TIMEOUT_MS
    another = node.receive(request(9, sender="s3", pre_vote=True), 130)
    assert vote_in(another.send_after_save).granted


# mistake 30
# fault F65
# fault F66
def test_who_hears_a_leader_neither_votes_nor_takes_over_a_higher_term() -> None:
    for node in (node_of("s2"), established("s1")):
        now_ms = node.state.now_ms
        if not node.is_leader:
            node.receive(append(1, (0, 0)), now_ms)
        me = node.state.name
        for pre_vote in (True, False):
            effects = node.receive(
                request(2**40, (9, 9), sender="s3", to=me, pre_vote=pre_vote), now_ms + 20
            )
            answer = vote_in(effects.send_after_save)
            assert not answer.granted
            assert "I hear from leader" in answer.reason
            assert (node.state.term, effects.save) == (1, None)


# mistake 30
def test_a_leader_silent_for_the_shortest_timeout_is_no_reason_to_deny() -> None:
    node = node_of("s2")
    node.receive(append(1, (0, 0)), 0)
    assert not vote_in(node.receive(request(2, pre_vote=True), 149).send_after_save).granted
    assert vote_in(node.receive(request(2, pre_vote=True), 150).send_after_save).granted


# mistake 30
def test_a_node_without_a_quorum_of_prevotes_never_raises_its_term() -> None:
    node = node_of("s1", term=3)
    for _ in range(50):
        node.pass_time(node.wake_at_ms)
        node.receive(Vote("s2", "s1", 3, False, pre_vote=True, reason="no"), node.state.now_ms)
    assert node.state.term == 3


# --- counting ------------------------------------------------------------------------------


# mistake 7
# mistake 33
# fault F57
@pytest.mark.parametrize(
    "late",
    [
        Vote("s2", "s1", 4, True),
        Vote("s2", "s1", 5, True, pre_vote=True),
        Vote("s2", "s1", 4, True, pre_vote=True),
    ],
)
def test_a_vote_of_another_election_counts_for_nothing(late: Vote) -> None:
    node = candidate_of("s1", term=4)
    assert node.state.term == 5
    node.receive(late, TIMEOUT_MS)
    assert node.state.role is Role.CANDIDATE
    assert node.state.votes == {"s1": True}


# mistake 7
def test_votes_are_counted_anew_in_each_election() -> None:
    node = candidate_of("s1", voters=("s1", "s2", "s3", "s4", "s5"))
    node.receive(Vote("s2", "s1", 1, True), TIMEOUT_MS)
    node.pass_time(node.wake_at_ms)
    for peer in ("s4", "s5"):
        node.receive(Vote(peer, "s1", 2, True, pre_vote=True), node.state.now_ms)
    assert (node.state.role, node.state.term) == (Role.CANDIDATE, 2)
    node.receive(Vote("s3", "s1", 2, True), node.state.now_ms)
    assert not node.is_leader


# mistake 7
def test_a_late_denial_does_not_cost_a_vote() -> None:
    node = candidate_of("s1", term=4)
    node.receive(Vote("s2", "s1", 4, False, reason="already voted for s3 in term 4"), TIMEOUT_MS)
    node.receive(Vote("s2", "s1", 5, True), TIMEOUT_MS)
    assert node.is_leader


def test_a_late_denial_takes_no_vote_back() -> None:
    node = candidate_of("s1", term=4, voters=("s1", "s2", "s3", "s4", "s5"))
    node.receive(Vote("s2", "s1", 5, True), TIMEOUT_MS)
    node.receive(Vote("s2", "s1", 4, False, reason="already voted"), TIMEOUT_MS)
    node.receive(Vote("s3", "s1", 5, True), TIMEOUT_MS)
    assert node.is_leader


# mistake 7
def test_a_vote_received_never_raises_the_voters_term() -> None:
    node = leader_of("s1")
    node.receive(Vote("s3", "s1", 1, True), TIMEOUT_MS)
    assert node.state.term == 1


# --- the term rule -------------------------------------------------------------------------


# mistake 8
# seed 004-30
@pytest.mark.parametrize(
    "message",
    [
        Vote("s2", "s1", 9, False, reason="term 1 is over, I am in term 9"),
        Vote("s2", "s1", 9, False, pre_vote=True, reason="term 2 is over"),
        Appended("s2", "s1", 9, 0, 0),
        Missing("s2", "s1", 9, 0, 0),
        AppendEntries("s2", "s1", 9, 0, 0, [], 0, 1),
    ],
)
def test_a_higher_term_makes_a_follower_of_candidates_and_leaders(message: Vote) -> None:
    for node in (candidate_of("s1"), leader_of("s1")):
        effects = node.receive(message, TIMEOUT_MS)
        assert (node.state.role, node.state.term) == (Role.FOLLOWER, 9)
        assert effects.save == HardState(9, None)


# mistake 8
def test_an_earlier_leader_is_refused_and_told_the_term() -> None:
    node = node_of("s2", 1, term=6)
    effects = node.receive(append(4, (1, 1), 4, commit=2), 10)
    assert effects.send_after_save == [Missing("s2", "s1", 6, 1, 0)]
    assert (terms_of(node), node.state.commit_index, node.state.leader) == ([1], 0, None)


# mistake 33
def test_the_refusal_of_an_old_leader_confirms_no_round_of_its_new_term() -> None:
    follower = node_of("s2", 1, term=6)
    refusal = follower.receive(append(4, (1, 1), number=7), 10).send_after_save[0]
    leader = established("s1", 1, term=5)  # by now it leads term 6
    leader.read(["get a"], TIMEOUT_MS)
    assert leader.state.round <= 7
    assert leader.receive(refusal, TIMEOUT_MS).reads == []


# mistake 10
def test_a_leader_that_gets_a_heartbeat_goes_on_leading() -> None:
    node = established("s1")
    before = (node.state.term, node.wake_at_ms)
    with pytest.raises(PeerError, match="s1 leads term 1, so s2 does not"):
        node.receive(append(1, (0, 0), sender="s2", to="s1"), TIMEOUT_MS)
    assert node.is_leader
    effects = node.receive(append(0, (0, 0), sender="s2", to="s1"), TIMEOUT_MS)
    assert node.is_leader
    assert (node.state.term, node.wake_at_ms) == before
    assert [message.term for message in effects.send_after_save] == [1]


# mistake 10
def test_no_tenure_ends_a_leadership_that_works() -> None:
    node = established("s1")
    for _ in range(500):
        node.pass_time(node.wake_at_ms)
        for peer in ("s2", "s3"):
            acknowledge(node, peer)
    assert (node.is_leader, node.state.term) == (True, 1)


# --- timers --------------------------------------------------------------------------------


# mistake 9
def test_only_a_valid_leader_or_a_vote_given_resets_the_timer() -> None:
    node = node_of("s2", 1, 2, term=6)
    ignored = [
        append(4, (2, 2)),  # an earlier term
        request(5, (9, 4)),  # denied: an earlier term
        request(7, (1, 1)),  # denied: a worse log
        request(9, (2, 2), pre_vote=True),
        Vote("s3", "s2", 7, True),
        Appended("s3", "s2", 6, 2, 1),
    ]
    for message in ignored:
        node.receive(message, 100)
        assert node.wake_at_ms == TIMEOUT_MS, message
    node.receive(request(7, (2, 2)), 100)
    assert node.wake_at_ms == 100 + TIMEOUT_MS
    node.receive(append(7, (2, 2)), 120)
    assert node.wake_at_ms == 120 + TIMEOUT_MS


# mistake 9
@pytest.mark.parametrize("fall", ["answer of a later term", "no quorum"])
def test_a_leader_that_stepped_down_may_stand_again(fall: str) -> None:
    node = established("s1")
    if fall == "no quorum":
        while node.is_leader:
            node.pass_time(node.wake_at_ms)
    else:
        node.receive(Missing("s2", "s1", 5, 0, 0), node.state.now_ms)
    assert node.wake_at_ms == node.state.now_ms + TIMEOUT_MS
    effects = node.pass_time(node.wake_at_ms)
    assert [type(message) for message in effects.send_after_save] == [RequestVote, RequestVote]


# thesis §6.2
def test_a_leader_steps_down_only_when_no_quorum_answered_for_a_whole_timeout() -> None:
    node = established("s1")
    for _ in range(20):
        node.pass_time(node.wake_at_ms)
        acknowledge(node, "s3")
    assert node.is_leader
    heard_at_ms = node.state.now_ms
    while node.is_leader:
        effects = node.pass_time(node.wake_at_ms)
    assert OPTIONS.election_timeout_ms < node.state.now_ms - heard_at_ms
    assert node.state.now_ms - heard_at_ms <= 2 * OPTIONS.election_timeout_ms
    assert "[!] s1 hears from no quorum of followers: it leads no longer" in effects.notes


def test_a_broken_connection_to_the_leader_is_news_another_is_not() -> None:
    node = node_of("s2")
    node.receive(append(1, (0, 0)), 0)
    node.lost("s3", 10)
    assert node.wake_at_ms == TIMEOUT_MS
    node.lost("s1", 10)
    assert 10 < node.wake_at_ms < 10 + 50
    asked = node.pass_time(node.wake_at_ms)
    assert asked.send_after_save[0] == RequestVote("s2", "s1", 2, 0, 0, pre_vote=True)


def test_time_that_goes_back_is_no_time_at_all() -> None:
    node = node_of("s2")
    node.pass_time(100)
    node.pass_time(50)
    assert node.state.now_ms == 100


# fault F55
def test_a_stranger_is_no_peer() -> None:
    node = node_of("s2")
    for sender in ("s9", "s2"):
        with pytest.raises(PeerError):
            node.receive(request(9, sender=sender), 10)
    assert node.state.term == 0
