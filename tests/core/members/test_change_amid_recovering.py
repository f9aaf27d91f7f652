"""A change of members and lost files meet: paper §6, src/raft/recovering.py."""

from __future__ import annotations

from raftline.raft.change import Change
from raftline.raft.effects import Effects
from raftline.raft.inputs import ChangeMembers, Receive
from raftline.raft.membership import Membership
from raftline.raft.messages import AppendAccepted, AppendRejected
from raftline.raft.node import RawNode
from raftline_testing.doubles.cores import acknowledge, established, sync

INCARNATION = 77


def members(*voters: str, learners: tuple[str, ...] = ()) -> Membership:
    names = (*voters, *learners)
    return Membership(voters, learners, (), {name: f"{name}:1" for name in names})


def change(node: RawNode, verb: str, name: str, address: str = "") -> Effects:
    return node.step(ChangeMembers(Change(verb, name, address), "t"), node.view.now_ms)


def hold(node: RawNode, *names: str) -> None:
    """Make the leader's disk and these followers hold all that there is, and what follows on it."""
    for _ in range(3):
        sync(node)
        for name in names:
            acknowledge(node, name)


def lose_memory(node: RawNode, name: str) -> None:
    state = node.view
    node.step(
        Receive(AppendRejected(name, "s1", state.term, 0, state.round, INCARNATION)), state.now_ms
    )


def test_change_that_needs_a_recovering_voter_is_refused() -> None:
    node = established("s1", voters=members("s1", "s2", "s3"))
    lose_memory(node, "s3")
    refused = change(node, "remove", "s2")
    assert [one.outcome for one in refused.settled] == ["refused"]
    assert refused.settled[0].text == (
        "s3 lost its memory and has no vote until it has caught up; with so few other voters, "
        "it never would: ask again once it has. Nothing was changed"
    )
    assert node.view.membership == members("s1", "s2", "s3")
    hold(node, "s2")
    state = node.view
    held = AppendAccepted("s3", "s1", state.term, state.log.last_index, state.round, INCARNATION)
    node.step(Receive(held), state.now_ms)  # it holds the fence, and is asked to vote again
    acknowledge(node, "s3")
    change(node, "remove", "s2")
    hold(node, "s2", "s3")
    assert node.view.membership == members("s1", "s3")


def test_a_voter_without_a_vote_may_be_removed() -> None:
    node = established("s1", voters=members("s1", "s2", "s3"))
    lose_memory(node, "s3")
    change(node, "remove", "s3")
    hold(node, "s2")
    assert node.view.membership == members("s1", "s2")


def test_voter_without_its_log_gets_the_members_when_it_joins() -> None:
    node = established("s1", voters=members("s1", "s2", "s3"))
    lose_memory(node, "s3")  # started to join: no entry could tell it whom it knew
    assert change(node, "add", "s3", "localhost:1").settled == []
    state = node.view
    assert state.log.entries(state.log.last_index, state.log.last_index)[0].command == (
        members("s1", "s2", "s3").format()
    )
    sync(node)
    (settled,) = acknowledge(node, "s2").settled
    index = state.log.last_index
    assert (settled.outcome, settled.text) == (
        "done",
        f"s3 is a voter as before, entry {index} tells it who the others are",
    )
    whole = AppendAccepted("s3", "s1", state.term, index, state.round)
    node.step(Receive(whole), state.now_ms)
    moved = change(node, "add", "s3", "localhost:1").settled[0]
    assert (
        moved.text
        == "s3 is a member at s3:1; to move it: update s3 localhost 1. Nothing was changed"
    )
    assert state.log.last_index == index
