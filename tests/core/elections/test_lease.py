"""Leases: when a leader may answer a read without asking anybody. Thesis §6.4.1."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftline.raft.effects import Effects, HardState, ReadReady
from raftline.raft.inputs import Read, Receive, Tick
from raftline.raft.messages import (
    AppendAccepted,
    Message,
    RequestVote,
    RequestVoteReply,
)
from raftline.raft.node import RawNode
from raftline.raft.roles import STARTS_MAX
from raftline.raft.state import Options
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    acknowledge,
    append,
    applied,
    beat,
    established,
    leader_of,
    node_of,
    sync,
)

LEASES = replace(OPTIONS, lease=True)
LEASE_MS = OPTIONS.election_timeout_ms * 9 // 10


def promised(node: RawNode, peer: str, now_ms: int, lease_ms: int = 150) -> Effects:
    """Make a follower answer the latest round with a promise."""
    state = node.view
    message = AppendAccepted(
        peer, "s1", state.term, state.log.last_index, state.round, lease_ms=lease_ms
    )
    return node.step(Receive(message), now_ms)


def follower(**more: object) -> tuple[RawNode, Message]:
    """Return a follower that has answered the leader s1 at time 0, and its answer."""
    node = node_of("s2", options=LEASES, **more)  # type: ignore[arg-type]
    effects = node.step(Receive(append(1, (0, 0), 1)), 0)
    sync(node)
    return node, effects.send_after_save[0]


def test_a_server_that_was_not_started_for_leases_uses_none() -> None:
    node = established("s1")
    promised(node, "s2", TIMEOUT_MS)
    assert node.view.lease_until_ms == 0
    assert node.step(Read(["get a"], by_lease=True), TIMEOUT_MS).reads == []


def test_old_rounds_are_forgotten_and_the_lease_stays() -> None:
    node = established("s1", options=replace(LEASES, heartbeat_ms=1))
    for _ in range(STARTS_MAX + 10):
        acknowledge(node, "s3")  # so it stays the leader; this promises nothing
        beat(node)
    now = node.view.now_ms
    assert len(node._state.as_leader.round_starts) < STARTS_MAX
    promised(node, "s2", now)
    assert node.view.lease_until_ms == now + LEASE_MS


def test_expired_lease_promise_leaves_the_disk_at_the_next_save() -> None:
    node = node_of("s2", 1, lease_ms=150)
    assert node.step(Receive(append(2, (1, 1))), 149).save == HardState(2, None, 150)
    assert node.step(Receive(append(3, (1, 1))), 150).save == HardState(3, None, 0)
    node = node_of("s2", 1, options=LEASES, lease_ms=150)
    assert node.step(Receive(append(2, (1, 1))), 150).save == HardState(2, None, 150)


def test_a_read_under_a_lease_waits_for_the_state_machine() -> None:
    node = leader_of("s1", *[1] * 5000, options=LEASES)
    promised(node, "s2", TIMEOUT_MS)
    assert node.view.commit_index == 5001
    applied(node, 4096)
    assert node.step(Read(["get a"], by_lease=True), TIMEOUT_MS).send == []  # it asks nobody
    node.step(Tick(), TIMEOUT_MS + LEASE_MS)  # the lease, which was that of the read, is over
    assert applied(node).reads == [ReadReady("get a", 5001)]


@pytest.mark.parametrize("options", [LEASES, OPTIONS])
def test_a_promise_is_kept_after_a_restart_under_any_options(options: Options) -> None:
    node = node_of("s2", 1, options=options, lease_ms=150)
    question = RequestVote("s3", "s2", 2, 1, 1)
    vote = node.step(Receive(question), 149).send_after_save[0]
    assert isinstance(vote, RequestVoteReply)
    assert not vote.granted
    assert node.step(Receive(question), 150).send_after_save == [
        RequestVoteReply("s2", "s3", 2, True)
    ]


def test_a_quorum_must_have_promised() -> None:
    node = established("s1", options=LEASES, voters=("s1", "s2", "s3", "s4", "s5"))
    promised(node, "s2", TIMEOUT_MS + 10)
    assert node.view.lease_until_ms == 0
    promised(node, "s3", TIMEOUT_MS + 10, lease_ms=100)
    assert node.view.lease_until_ms == TIMEOUT_MS + 90


def test_new_leader_has_no_lease_before_its_noop_is_committed() -> None:
    node = leader_of("s1", 1, 1, options=LEASES)
    term, number = node.view.term, node.view.round
    node.step(Receive(AppendAccepted("s2", "s1", term, 2, number, lease_ms=150)), TIMEOUT_MS)
    assert node.view.lease_until_ms > TIMEOUT_MS
    assert node.step(Read(["get a"], by_lease=True), TIMEOUT_MS).reads == []


def test_a_node_without_a_vote_promises_no_lease() -> None:
    _, answer = follower(recovering=True)
    assert isinstance(answer, AppendAccepted)
    assert answer.lease_ms == 0
