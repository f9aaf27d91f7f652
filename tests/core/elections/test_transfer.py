"""Leadership transfer in the core. Thesis §3.10."""

from __future__ import annotations

import pytest

from raftline.raft.effects import Effects
from raftline.raft.inputs import PeerDisconnected, Propose, Receive, Tick, Transfer
from raftline.raft.log import SafetyError
from raftline.raft.messages import (
    AppendRejected,
    TimeoutNow,
)
from raftline.raft.node import RawNode
from raftline.raft.transfer import TransferRefused
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    acknowledge,
    append,
    established,
    node_of,
    sync,
)


def asked_to_stand(effects: Effects) -> list[str]:
    """Return who is asked to stand."""
    return [m.to for m in effects.messages() if isinstance(m, TimeoutNow)]


def follower(name: str = "s2", **more: object) -> RawNode:
    """Return a follower that hears from s1, leader of term 1."""
    node = node_of(name, **more)  # type: ignore[arg-type]
    node.step(Receive(append(1, (0, 0), 1, to=name)), 0)
    sync(node)
    return node


def test_a_leader_takes_no_proposals_during_a_transfer() -> None:
    node = established("s1")
    node.step(Transfer("s3"), TIMEOUT_MS)
    assert not node.takes_proposals
    with pytest.raises(SafetyError):
        node.step(Propose(["set a 1"]), TIMEOUT_MS)
    acknowledge(node, "s2")
    node.step(Tick(), TIMEOUT_MS + OPTIONS.election_timeout_ms - 1)
    assert not node.takes_proposals
    assert node.wake_at_ms <= TIMEOUT_MS + OPTIONS.election_timeout_ms
    effects = node.step(Tick(), TIMEOUT_MS + OPTIONS.election_timeout_ms)
    assert "[*] s3 did not take over: s1 leads on" in effects.notes
    assert node.takes_proposals


def test_a_disconnected_follower_is_not_chosen_until_it_answers() -> None:
    node = established("s1")
    node.step(PeerDisconnected("s2"), TIMEOUT_MS)
    node.step(PeerDisconnected("s3"), TIMEOUT_MS)
    with pytest.raises(TransferRefused, match="no follower can take over"):
        node.step(Transfer(None), TIMEOUT_MS)
    acknowledge(node, "s2")
    assert asked_to_stand(node.step(Transfer(None), TIMEOUT_MS)) == ["s2"]


def test_transfer_to_a_node_without_its_log_is_refused_or_ended() -> None:
    node = established("s1")
    forgetful = AppendRejected("s3", "s1", 1, 0, node.view.round, without_vote=1)
    node._state.log.append(1, "set a 1")  # so that s3 is not sent it at once
    node.step(Transfer("s3"), TIMEOUT_MS)
    node.step(Receive(forgetful), TIMEOUT_MS)
    assert node.view.transfer is None
    with pytest.raises(TransferRefused, match="s3 lost its memory and catches up without a vote"):
        node.step(Transfer("s3"), TIMEOUT_MS)
