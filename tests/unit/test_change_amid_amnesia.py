"""A change of members and lost files meet: paper §6, core: amnesia."""

from __future__ import annotations

from raftline.raft.change import Change
from raftline.raft.effects import Effects
from raftline.raft.membership import Membership
from raftline.raft.messages import Appended, AppendEntries, Missing
from raftline.raft.node import Node
from tests.unit.cores import acknowledge, established, sync

LIFE = 77


def members(*voters: str, learners: tuple[str, ...] = ()) -> Membership:
    names = (*voters, *learners)
    return Membership(voters, learners, (), {name: f"{name}:1" for name in names})


def change(node: Node, verb: str, name: str, address: str = "") -> Effects:
    return node.change(Change(verb, name, address), "t", node.state.now_ms)


def hold(node: Node, *names: str) -> None:
    """Let the leader's disk and these followers hold all that there is, and what follows on it."""
    for _ in range(3):
        sync(node)
        for name in names:
            acknowledge(node, name)


def lose_memory(node: Node, name: str) -> None:
    state = node.state
    node.receive(Missing(name, "s1", state.term, 0, state.round, LIFE), state.now_ms)


def test_a_member_that_comes_back_without_its_files_gets_the_log_from_its_beginning() -> None:
    node = established("s1", voters=members("s1", "s2", "s3"))
    change(node, "remove", "s3")  # its disk is gone
    hold(node, "s2")
    change(node, "add", "s3", "s3:1")  # a new one is in its place
    hold(node, "s2")
    answer = Missing("s3", "s1", node.state.term, 0, node.state.round)
    sent = [m for m in node.receive(answer, node.state.now_ms).send if m.to == "s3"]
    assert [(m.prev_index, len(m.entries)) for m in sent if isinstance(m, AppendEntries)] == [
        (0, node.state.log.last_index)
    ]
    hold(node, "s2", "s3")
    assert node.state.membership == members("s1", "s2", "s3")
