"""Votes, given and denied: §5.2, §5.4.1; thesis §4.2.3, §9.6."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from raftline.raft.effects import HardState
from raftline.raft.inputs import Receive
from raftline.raft.log import SafetyError
from raftline.raft.membership import Membership
from raftline.raft.messages import (
    Denial,
    PeerError,
    RequestVoteReply,
)
from raftline.raft.node import node_from_disk
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
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
        assert answer.word is Denial.VOTED
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
        assert answer.word is (None if granted else Denial.BEHIND)


def test_vote_for_an_earlier_term_is_denied_with_the_later_term() -> None:
    node = node_of("s2", term=6)
    answer = vote_in(node.step(Receive(request(5)), 10).send_after_save)
    assert (answer.granted, answer.term) == (False, 6)
    assert answer.word is Denial.OLD_TERM


# thesis §9.6
def test_a_prevote_changes_neither_term_nor_vote_nor_timer() -> None:
    node = node_of("s2", term=4, vote="s3")
    effects = node.step(Receive(request(9, pre_vote=True)), 120)
    assert vote_in(effects.send_after_save) == RequestVoteReply("s2", "s1", 9, True, pre_vote=True)
    assert (effects.save, node.view.term, node.view.vote) == (None, 4, "s3")
    assert node.wake_at_ms == TIMEOUT_MS
    another = node.step(Receive(request(9, sender="s3", pre_vote=True)), 130)
    assert vote_in(another.send_after_save).granted


def test_an_impossible_term_is_refused_and_changes_nothing() -> None:
    node = node_of("s2", 1)
    for term in (2**48 + 1, 2**63 - 1):
        with pytest.raises(PeerError, match="is too far ahead of mine, 1"):
            node.step(Receive(request(term, (9, term - 1))), 10)
    assert node.view.term == 1
    assert node.step(Receive(request(2**48, (9, 2))), 10).save == HardState(2**48, "s1")
