"""The replies about a transfer, at the node that began it and by `raftline transfer`."""

from __future__ import annotations

from raftline.net.protocol.host import Batch
from raftline.node.loop.handover import Handover
from raftline.raft.inputs import Receive, Tick
from raftline.raft.messages import RequestVote
from raftline.raft.node import RawNode
from raftline.wire.refusal import NO_LEADER, not_leader
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    acknowledge,
    append,
    established,
    node_of,
)

DEADLINE_S = 60.0


def begun(node: RawNode, to: str | None = "s3") -> tuple[Handover, Batch]:
    handover = Handover(node, lambda leader: not_leader(leader, "localhost", 1))
    batch = Batch(["transfer"], is_read=False)
    handover.begin(batch, to, node.view.now_ms)
    return handover, batch


def reply_of(batch: Batch) -> str | None:
    return batch.replies[0] if batch.replies else None


def test_the_requester_of_a_transfer_gets_the_new_leader() -> None:
    node = established("s1")
    handover, batch = begun(node)
    node.step(Receive(RequestVote("s3", "s1", 2, 1, 1, transfer=True)), TIMEOUT_MS)
    handover.look()
    assert reply_of(batch) is None  # nobody is known to lead yet
    node.step(Receive(append(2, (1, 1), 2, sender="s3", to="s1")), TIMEOUT_MS)
    handover.look()
    assert batch.wait(DEADLINE_S)
    assert reply_of(batch) == "TRANSFER response: s3 leads term 2"


def test_transfer_is_answered_if_another_node_leads() -> None:
    node = established("s1")
    handover, batch = begun(node)
    node.step(Receive(append(2, (1, 1), 2, sender="s2", to="s1")), TIMEOUT_MS)
    handover.look()
    assert reply_of(batch) == "Sorry, s3 did not take over: s2 leads term 2."


def test_transfer_is_answered_if_no_node_took_over() -> None:
    node = established("s1")
    handover, batch = begun(node)
    acknowledge(node, "s2")
    node.step(Tick(), TIMEOUT_MS + OPTIONS.election_timeout_ms)
    handover.look()
    assert reply_of(batch) == "Sorry, s3 did not take over: s1 leads term 1."


def test_a_server_that_stops_leaves_no_transfer_request_waiting() -> None:
    handover, batch = begun(established("s1"))
    handover.end()
    assert reply_of(batch) == "Sorry, outcome unknown: s3 may take over yet, or not"


def test_an_impossible_transfer_is_refused_at_once() -> None:
    _, batch = begun(established("s1"), "s9")
    assert reply_of(batch) == "Sorry, s9 is not a member of this cluster."
    follower = node_of("s2")
    assert reply_of(begun(follower)[1]) == NO_LEADER
    follower.step(Receive(append(1, (0, 0))), 0)
    assert reply_of(begun(follower)[1]) == not_leader("s1", "localhost", 1)
