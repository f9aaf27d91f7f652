"""A node that lost its log: no vote and no weight until it holds what it once helped to commit.
Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftline.raft.inputs import PeerBuild, Receive, Tick
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Message,
    RequestVoteReply,
)
from raftline.raft.node import RawNode
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    acknowledge,
    append,
    established,
    node_of,
    request,
    sync,
)


def loss(leader: RawNode, peer: str = "s3", index: int = 0, incarnation: int = 1) -> AppendRejected:
    """Return what a follower answers that has just lost its memory."""
    state = leader.view
    return AppendRejected(
        peer, state.name, state.term, index, state.round, without_vote=incarnation
    )


def heartbeat(leader: RawNode) -> list[Message]:
    """Pass the time until the leader opens its next round; return what it sends."""
    before = leader.view.round
    sent: list[Message] = []
    while leader.view.round == before:
        sent = leader.step(Tick(), leader.wake_at_ms).send
    return sent


def says_vote_again(messages: list[Message], to: str = "s3") -> bool:
    return any(
        isinstance(message, AppendEntries) and message.to == to and message.vote_again
        for message in messages
    )


def catch_up(leader: RawNode, peer: str = "s3", incarnation: int = 1) -> list[Message]:
    """Make the follower acknowledge the whole log, still without a vote; return what is sent."""
    state = leader.view
    answer = AppendAccepted(
        peer, "s1", state.term, state.log.last_index, state.round, without_vote=incarnation
    )
    sync(leader)
    return leader.step(Receive(answer), state.now_ms).send


def test_a_second_loss_before_the_first_is_mended_begins_again() -> None:
    leader = established("s1")
    leader.step(Receive(loss(leader)), TIMEOUT_MS)
    sync(leader)
    catch_up(leader)
    heartbeat(leader)
    late = AppendAccepted("s3", "s1", 1, 2, leader.view.round, without_vote=1)
    leader.step(Receive(loss(leader, incarnation=2)), leader.view.now_ms)
    leader.step(Receive(late), leader.view.now_ms)
    assert leader.view.progress["s3"].match_index == 0
    sent = acknowledge(leader, "s2", 2).send
    assert leader.view.commit_index == 2
    assert not says_vote_again([*sent, *heartbeat(leader)])


def play_out(leader: RawNode, node: RawNode) -> None:
    """Play a loss out with both cores, the others only echoing rounds."""
    others = [name for name in leader.view.peers if name != node.view.name]
    now_ms = leader.view.now_ms
    for _ in range(10):
        now_ms = max(now_ms, leader.wake_at_ms)
        pending = leader.step(Tick(), now_ms).send
        for peer in others:
            pending += acknowledge(leader, peer).send
        while pending:
            message = pending.pop(0)
            if message.to == node.view.name:
                for answer in node.step(Receive(message), now_ms).send_after_save:
                    pending += leader.step(Receive(answer), now_ms).send
                sync(leader)
            elif isinstance(message, AppendEntries) and message.entries:
                pending += acknowledge(leader, message.to).send


@pytest.mark.parametrize("listed", [("s5", "s4", "s3"), ("s5", "s6", "s7", "s8", "s9")])
def test_node_votes_again_by_the_members_of_the_log(
    listed: tuple[str, ...],
) -> None:
    """Otherwise, it would lead and commit with a quorum of the wrong members: s1, s2 and s3 would
    elect another leader, which lacks those entries. No entry named the members before."""
    voters = ("s1", "s2", "s3", "s4", "s5")
    options = replace(OPTIONS, cluster_if_new="9f86d081884c7d65")
    leader = established("s1", 1, 1, 1, voters=voters, options=options)
    for peer in voters[1:]:
        leader.step(PeerBuild(peer, frozenset()), leader.view.now_ms)
    node = node_of("s5", voters=listed, recovering=True, options=options)
    play_out(leader, node)
    assert not node.view.recovering
    assert node.view.membership == leader.view.membership
    assert node.view.configurations.at(node.view.commit_index).voters == voters
    again = node_of("s5", voters=listed, recovering=True, incarnation=2, options=options)
    play_out(leader, again)
    assert not again.view.recovering
    said = [entry for entry in leader.view.log.commands if entry.startswith("members")]
    assert len(said) == 1  # one entry is enough


@pytest.mark.parametrize("evidence", ["append", "request", "prevote"])
def test_a_newborn_that_finds_a_history_has_no_vote(evidence: str) -> None:
    node = node_of("s3", newborn=True)
    if evidence == "append":
        effects = node.step(Receive(append(4, (0, 0), to="s3")), 10)
        (answer,) = effects.send_after_save
        assert isinstance(answer, AppendAccepted)
        assert answer.without_vote == 1
    else:
        question = request(4, (1, 1), to="s3", pre_vote=evidence == "prevote")
        effects = node.step(Receive(question), 10)
        (answer,) = effects.send_after_save
        assert isinstance(answer, RequestVoteReply)
        assert not answer.granted
    assert effects.forgot
    assert effects.wants_disk
    assert node.view.recovering
