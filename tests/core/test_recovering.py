"""A node that lost its log: no vote and no weight until it holds what it once helped to commit.
Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018."""

from __future__ import annotations

from raftline.raft.inputs import Receive, Tick
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Message,
)
from raftline.raft.node import RawNode
from raftline_testing.doubles.cores import (
    TIMEOUT_MS,
    acknowledge,
    established,
    sync,
)


def loss(leader: RawNode, peer: str = "s3", index: int = 0, incarnation: int = 1) -> AppendRejected:
    """Return what a follower answers that has just lost its memory."""
    state = leader.view
    return AppendRejected(
        peer, state.name, state.term, index, state.round, without_vote=incarnation
    )


def heartbeat(leader: RawNode) -> list[Message]:
    """Let time pass until the leader opens its next round; return what it sends."""
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
    """Let the follower acknowledge the whole log, still without a vote; return what is sent."""
    state = leader.view
    answer = AppendAccepted(
        peer, "s1", state.term, state.log.last_index, state.round, without_vote=incarnation
    )
    sync(leader)
    return leader.step(Receive(answer), state.now_ms).send


# --- its leader ----------------------------------------------------------------------------


def test_a_second_loss_before_the_first_is_mended_begins_anew() -> None:
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
