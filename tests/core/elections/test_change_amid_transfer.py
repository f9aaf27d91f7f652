"""A change of members and a change of leaders meet: paper §6, thesis §3.10 and §4.2.2."""

from __future__ import annotations

import pytest

from raftline.raft.change import Change
from raftline.raft.effects import Effects
from raftline.raft.inputs import ChangeMembers, Tick, Transfer
from raftline.raft.membership import Membership
from raftline.raft.node import RawNode
from raftline.raft.transfer import TransferRefused
from raftline_testing.doubles.cores import TIMEOUT_MS, acknowledge, established, sync


def led(*voters: str, learners: tuple[str, ...] = ()) -> RawNode:
    """Return a leader s1 that has committed its no-op with these members."""
    addresses = {name: f"{name}:1" for name in (*voters, *learners)}
    return established("s1", voters=Membership(voters, learners, (), addresses))


def change(node: RawNode, verb: str, name: str, address: str = "") -> Effects:
    return node.step(ChangeMembers(Change(verb, name, address), "t"), TIMEOUT_MS)


# --- while the leadership is handed over ------------------------------------------------------


def test_the_new_configuration_waits_until_a_transfer_is_over() -> None:
    node = led("s1", "s2", "s3")
    change(node, "remove", "s3")
    node.step(Transfer("s2"), TIMEOUT_MS)
    sync(node)
    acknowledge(node, "s2")
    acknowledge(node, "s3")
    assert node.view.commit_index == node.view.log.last_index  # the joint one is committed
    assert node.view.membership.is_joint
    node.step(Tick(), node.view.transfer.until_ms)  # type: ignore[union-attr]
    assert node.view.membership.voters == ("s1", "s2")
    assert not node.view.membership.is_joint


def test_a_change_is_refused_while_the_leadership_is_handed_over() -> None:
    node = led("s1", "s2", "s3")
    node.step(Transfer("s2"), TIMEOUT_MS)
    effects = change(node, "remove", "s3")
    assert [(outcome, text) for _, outcome, text in effects.settled] == [
        ("refused", "the leadership is being handed over to s2. Nothing was changed")
    ]
    assert effects.append == []


# --- who may take over ------------------------------------------------------------------------


def test_the_leadership_is_not_transferred_to_a_learner() -> None:
    node = led("s1", learners=("s2",))
    with pytest.raises(TransferRefused, match=r"^s2 is a learner without a vote$"):
        node.step(Transfer("s2"), TIMEOUT_MS)
    with pytest.raises(TransferRefused, match=r"^no follower can take over$"):
        node.step(Transfer(None), TIMEOUT_MS)


def test_the_leadership_is_not_transferred_to_a_leaving_voter() -> None:
    node = led("s1", "s2", "s3")
    change(node, "remove", "s3")
    with pytest.raises(TransferRefused, match=r"^s3 is about to leave the cluster$"):
        node.step(Transfer("s3"), TIMEOUT_MS)
    for peer in ("s2", "s3"):
        sync(node)
        acknowledge(node, peer)
    assert "s3" not in node.view.membership.names
    with pytest.raises(TransferRefused, match=r"^s3 is not a member of this cluster$"):
        node.step(Transfer("s3"), TIMEOUT_MS)
