"""Votes, given and denied: §5.2, §5.4.1; thesis §4.2.3, §9.6."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from raftline.raft.effects import HardState
from raftline.raft.inputs import Receive, Tick
from raftline.raft.log import SafetyError
from raftline.raft.membership import Membership
from raftline.raft.messages import (
    PeerError,
    RequestVoteReply,
)
from raftline.raft.node import RawNode, node_from_disk
from raftline.raft.roles import Role
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    append,
    log_of,
    node_of,
    request,
)


def vote_in(messages: Sequence[object]) -> RequestVoteReply:
    (vote,) = messages
    assert isinstance(vote, RequestVoteReply)
    return vote


def test_a_vote_is_given_once_per_term_also_after_a_restart() -> None:
    node = node_of("s2")
    saved = node.step(Receive(request(4)), 10).save
    assert saved is not None
    for voter in (node, node_of("s2", term=saved.term, vote=saved.vote)):
        answer = vote_in(voter.step(Receive(request(4, sender="s3")), 20).send_after_save)
        assert not answer.granted
        assert answer.reason == "already voted for s1 in term 4"
        assert vote_in(voter.step(Receive(request(4)), 20).send_after_save).granted


def test_a_log_of_a_later_term_than_the_saved_one_is_refused() -> None:
    with pytest.raises(SafetyError):
        node_from_disk(
            "s1", Membership(("s1",)), log_of(5), HardState(4, None), OPTIONS, lambda: 150, 0
        )


@pytest.mark.parametrize(
    ("last", "granted"),
    [((3, 2), True), ((4, 2), True), ((1, 3), True), ((2, 2), False), ((9, 1), False)],
)
def test_the_vote_goes_to_a_log_that_is_at_least_as_good(
    last: tuple[int, int], granted: bool
) -> None:
    for pre_vote in (True, False):
        node = node_of("s2", 1, 2, 2, term=4)
        answer = vote_in(
            node.step(Receive(request(5, last, pre_vote=pre_vote)), 10).send_after_save
        )
        assert answer.granted is granted
        assert granted or answer.reason.startswith("log not up to date")


def test_a_candidate_of_an_earlier_term_is_denied_with_the_later_term() -> None:
    node = node_of("s2", term=6)
    answer = vote_in(node.step(Receive(request(5)), 10).send_after_save)
    assert (answer.granted, answer.term) == (False, 6)
    assert answer.reason == "term 5 is over, I am in term 6"


LEAP = 2**48 - 1


def leap(node: RawNode, *, with_entries: bool = False) -> None:
    """Take a follower as far as forged lines of a silent member can, in one go."""

    def forged(term: int) -> Receive:
        return Receive(append(term, (1, 1), *([term] * with_entries), to="s2", sender="s3"))

    first = LEAP + node.view.term
    node.step(forged(first), 10)
    assert (node.view.term, node.view.log.last_term) == (first, first if with_entries else 1)
    for more in (LEAP, 2**20, 2**16, 1000, 2):
        with pytest.raises(PeerError, match="is too far ahead of mine"):
            node.step(forged(first + more), 10)


def test_terms_of_forged_entries_do_not_add_up_either() -> None:
    """The cluster follows the leap, and its leader takes the forged entry back."""
    follower = node_of("s2", 1)
    follower.step(Receive(append(1, (1, 1), commit=1)), 5)
    leap(follower, with_entries=True)
    term = 2 + LEAP
    follower.step(Receive(append(term, (1, 1), term, commit=2)), 10 + TIMEOUT_MS)
    assert (follower.view.leader, follower.view.commit_index) == ("s1", 2)
    follower.step(Receive(append(term + LEAP, (2, term), sender="s3")), 20 + TIMEOUT_MS)
    assert follower.view.term == term + LEAP  # what is committed was moved by a leap


FAR = 2**48 + 7


def denied(sender: str, term: int) -> Receive:
    reason = f"term 2 is over, I am in term {term}"
    return Receive(RequestVoteReply(sender, "s3", term, False, pre_vote=True, reason=reason))


def away_during_a_leap(voters: int = 3) -> RawNode:
    """Return s3, which asks for votes and has refused its leader's far term."""
    node = node_of("s3", 1, voters=[f"s{number + 1}" for number in range(voters)])
    node.step(Receive(append(1, (1, 1), commit=1, to="s3")), 5)
    with pytest.raises(PeerError, match="is too far ahead of mine, 1"):
        node.step(Receive(append(FAR, (1, 1), to="s3")), 10)
    node.step(Tick(), node.wake_at_ms)
    assert node.view.role is Role.PRE_CANDIDATE
    return node


def test_a_server_that_was_away_during_a_leap_follows_once_a_quorum_answers_from_beyond() -> None:
    node = away_during_a_leap()
    assert node.step(denied("s1", FAR), 300).save is None
    assert node.step(denied("s2", FAR + 1), 300).save == HardState(FAR, None)
    node.step(Receive(append(FAR + 1, (1, 1), to="s3", sender="s2")), 310)
    assert (node.view.term, node.view.leader) == (FAR + 1, "s2")


def test_neither_a_minority_nor_questions_move_a_server_beyond_its_bound() -> None:
    node = away_during_a_leap(voters=5)
    for answer in (denied("s1", FAR), denied("s2", FAR), denied("s2", 2**61), denied("s1", FAR)):
        node.step(answer, 300)
    for question in (append(FAR, (1, 1), to="s3", sender="s4"), request(FAR, sender="s5", to="s3")):
        with pytest.raises(PeerError, match="is too far ahead of mine, 1"):
            node.step(Receive(question), 300)
    with pytest.raises(PeerError, match="is too far ahead of mine, 1"):
        node.step(denied("s4", 2**63 - 1), 300)
    node.step(Tick(), node.wake_at_ms)  # it asks again, and what it was answered counts no more
    node.step(denied("s4", FAR), node.view.now_ms)
    assert node.view.term == 1


@pytest.mark.parametrize("term", [2**48 + 5, 2**60])
def test_a_server_without_entries_takes_a_leaders_term_however_far(term: int) -> None:
    node = node_of("s2")
    for pre_vote in (True, False):
        with pytest.raises(PeerError, match="is too far ahead of mine"):
            node.step(Receive(request(term, (9, term - 1), pre_vote=pre_vote)), 10)
    node.step(Receive(append(term, (9, term))), 10)
    assert (node.view.term, node.view.leader) == (term, "s1")
    with pytest.raises(PeerError, match="is too far ahead of mine"):
        node.step(Receive(append(2**63 - 1, (0, 0))), 10_000)
