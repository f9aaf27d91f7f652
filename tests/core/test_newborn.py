"""A server that begins with nothing: which messages tell it that the cluster has a history."""

from __future__ import annotations

import pytest

from raftline.raft.effects import Effects, HardState
from raftline.raft.inputs import Receive, Tick
from raftline.raft.messages import (
    AppendAccepted,
    RequestVote,
    RequestVoteReply,
)
from raftline.raft.node import RawNode
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    append,
    node_of,
    request,
    sync,
)
from raftline_testing.orders import Campaign, OrderRefused, obey


def newborn(*terms: int) -> RawNode:
    """Return s1 at its first start; entries of these terms were written by hand."""
    return node_of("s1", *terms, newborn=True)


# --- a log that was written by hand ------------------------------------------------------------


def asked(node: RawNode, at_ms: int) -> list[RequestVote]:
    """Let the node's time pass until then; return what it asks."""
    effects = node.step(Tick(), at_ms)
    return [one for one in effects.send_after_save if isinstance(one, RequestVote)]


def pre_voted(node: RawNode) -> Effects:
    """Let both others grant the PreVote that was just asked for."""
    term = node.view.term + 1
    node.step(Receive(RequestVoteReply("s2", "s1", term, True, True)), node.view.now_ms)
    return node.step(Receive(RequestVoteReply("s3", "s1", term, True, True)), node.view.now_ms)


def test_a_first_leader_saves_that_it_is_no_newborn_before_it_sends() -> None:
    node = newborn(1, 2)
    node.step(Tick(), 0)
    pre_voted(node)
    effects = node.step(Receive(RequestVoteReply("s2", "s1", 3, True)), 20)
    assert node.view.is_leader
    assert not node.view.newborn
    assert effects.recovered
    assert effects.save == HardState(3, "s1")
    assert effects.send == []
    assert len(effects.send_after_save) == 2
    heartbeats = node.step(Tick(), node.view.now_ms + OPTIONS.heartbeat_ms)  # its disk is slow
    assert (len(heartbeats.send), len(heartbeats.send_after_save)) == (0, 2)
    sync(node)
    assert len(node.step(Tick(), node.view.now_ms + OPTIONS.heartbeat_ms).send) == 2


# --- without a vote, and why -------------------------------------------------------------------

UNSURE = "I may be new or may have lost everything, so I catch up without a vote"


def test_a_node_that_may_be_new_reports_just_that() -> None:
    node = node_of("s1", recovering=True, may_be_new=True, incarnation=7)
    (denial,) = node.step(Receive(request(1, sender="s2", to="s1")), 10).send_after_save
    assert isinstance(denial, RequestVoteReply)
    assert denial.reason == UNSURE
    (answer,) = node.step(Receive(append(1, (0, 0), 1, sender="s2", to="s1")), 20).send_after_save
    assert isinstance(answer, AppendAccepted)
    assert (answer.without_vote, answer.may_be_new) == (7, True)
    with pytest.raises(OrderRefused, match="may be new or may have lost everything"):
        obey(node, Campaign(), 30)


WAYS = (
    "or when one that never ran before is started once with --new, or by `raftline recover` "
    "(docs/repair.md)"
)


def denied(node: RawNode, sender: str, reason: str) -> None:
    node.step(Receive(RequestVoteReply(sender, "s1", 1, False, True, reason)), node.view.now_ms)


def silence(node: RawNode) -> list[str]:
    return [note for note in node.step(Tick(), node.wake_at_ms).notes if note.startswith("[!]")]


def test_a_candidate_names_once_the_voters_without_a_vote_and_the_remedy() -> None:
    node = node_of("s1", 1, voters=("s1", "s2", "s3", "s4"))
    node.step(Tick(), TIMEOUT_MS)
    denied(node, "s2", UNSURE)
    denied(node, "s3", "I lost my memory and catch up without a vote")
    why = (
        "s2 has no vote, since it may be new or may have lost everything. s3 lost its memory. "
        f"This ends when s4 answers, {WAYS}"
    )
    assert silence(node) == [f"[!] No leader is heard: {why}"]
    assert node.view.no_leader_because == why
    for peer, reason in (("s2", UNSURE), ("s3", "I lost my memory and catch up without a vote")):
        denied(node, peer, reason)
    assert silence(node) == []
    node.step(Receive(append(1, (1, 1), sender="s4", to="s1")), node.view.now_ms)
    assert node.view.no_leader_because == ""
    assert node._state.without_vote_now == {}
