"""Reads at a follower, by the leader's read index. Thesis §6.4."""

from __future__ import annotations

import pytest

from raftline.raft.inputs import AskLeader, PeerDisconnected, Receive, Tick
from raftline.raft.messages import ReadIndex, ReadIndexReply
from raftline.raft.node import RawNode
from raftline_testing.doubles.cores import (
    TIMEOUT_MS,
    append,
    applied,
    established,
    node_of,
    sync,
)


def follower(commit: int = 1) -> RawNode:
    """Return a follower of s1 with three entries, `commit` of them committed."""
    node = node_of("s2")
    node.step(Receive(append(1, (0, 0), 1, 1, 1, commit=commit)), 100)
    sync(node)
    applied(node)
    return node


@pytest.mark.parametrize(
    "late",
    [
        ReadIndexReply("s1", "s2", 1, 3, 99),
        ReadIndexReply("s3", "s2", 1, 3, 100),
        ReadIndexReply("s1", "s2", 0, 3, 100),
    ],
)
def test_an_answer_to_another_read_index_request_serves_no_read(late: ReadIndexReply) -> None:
    node = follower(commit=3)
    node.step(AskLeader(["get a"]), 100)
    assert node.step(Receive(late), 110).reads == []


@pytest.mark.parametrize("how", ["silence", "broken connection"])
def test_reads_are_refused_if_the_leader_is_lost(how: str) -> None:
    node = follower()
    node.step(AskLeader(["get a"]), 100)
    if how == "silence":
        effects = node.step(Tick(), node.view.election_at_ms)
    else:
        effects = node.step(PeerDisconnected("s1"), 100)
    assert effects.refused == ["get a"]


def test_without_a_leader_follower_reads_are_refused() -> None:
    assert node_of("s2").step(AskLeader(["get a"]), 0).refused == ["get a"]


def test_only_the_leader_of_the_term_answers_read_index() -> None:
    node = follower()
    effects = node.step(Receive(ReadIndex("s3", "s2", 1, 7)), 100)
    assert effects.send_after_save == []
    assert "ignored ReadIndex from s3" in effects.notes[0]
    leader = established("s1", 1, 1)
    assert leader.step(Receive(ReadIndex("s2", "s1", 1, 7)), TIMEOUT_MS).send == []


def test_reads_are_refused_if_another_node_leads() -> None:
    node = follower()
    node.step(AskLeader(["get a"]), 100)
    node.step(AskLeader(["get b"]), 100)
    effects = node.step(Receive(append(2, (3, 1), sender="s3")), 110)
    assert effects.refused == ["get a", "get b"]
