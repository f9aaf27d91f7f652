"""The builds of members in the core: towards whom a leader is silent, and which server it adds."""

from __future__ import annotations

from dataclasses import replace

from raftline.raft.change import Change
from raftline.raft.effects import Effects
from raftline.raft.inputs import (
    ChangeMembers,
    PeerBuild,
    PeerDisconnected,
    Propose,
    Receive,
    SnapshotTaken,
    Tick,
)
from raftline.raft.log import Snapshot
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    InstallSnapshot,
    InstallSnapshotReply,
)
from raftline.raft.node import RawNode
from raftline_testing.doubles.cores import OPTIONS, acknowledge, compact, established

ABOVE_FLOOR = replace(OPTIONS, cluster_if_new="9f86d081884c7d65", chunk_bytes=40)


def leader() -> RawNode:
    """Return a leader above the floor whose followers have told their builds."""
    node = established("s1", options=ABOVE_FLOOR)
    for peer in node.view.peers:
        tell(node, peer)
        acknowledge(node, peer)
    return node


def tell(node: RawNode, peer: str) -> Effects:
    return node.step(PeerBuild(peer, frozenset()), node.view.now_ms)


def tell_floor(node: RawNode, peer: str) -> Effects:
    """Make a peer answer as another implementation does, or a node that has --floor."""
    return node.step(PeerBuild(peer, frozenset(), is_at_floor=True), node.view.now_ms)


def lose(node: RawNode, peer: str) -> None:
    """Break the connection to a peer."""
    node.step(PeerBuild(peer, None), node.view.now_ms)


def to(effects: Effects, peer: str) -> list[object]:
    """Return what is sent to a peer."""
    return [message for message in effects.messages() if message.to == peer]


def add(node: RawNode, name: str, **more: object) -> list[str]:
    """Ask a leader to add a server; return the refusals."""
    change = Change("add", name, f"{name}:1", **more)  # type: ignore[arg-type]
    effects = node.step(ChangeMembers(change, "token"), node.view.now_ms)
    return [settled.text for settled in effects.settled]


def test_leader_sends_nothing_without_an_announcement() -> None:
    node = leader()
    lose(node, "s3")
    heartbeat_ms = node.wake_at_ms
    for now_ms in range(heartbeat_ms, heartbeat_ms + 100, 50):
        assert to(node.step(Propose(["set a 1"]), now_ms), "s3") == []
        assert to(node.step(Tick(), now_ms), "s3") == []
    answer = AppendAccepted("s3", "s1", node.view.term, 1, node.view.round)
    assert to(node.step(Receive(answer), node.view.now_ms), "s3") == []


def test_leader_sends_at_once_after_an_announcement() -> None:
    node = leader()
    lose(node, "s3")
    assert [type(message) for message in to(tell(node, "s3"), "s3")] == [AppendEntries]


def test_member_without_a_build_is_named_and_sent_nothing() -> None:
    """It was changed after it had told its build."""
    node = leader()
    effects = tell_floor(node, "s3")
    assert to(effects, "s3") == []
    assert effects.notes == [
        "[!] s3 announces no build, and this cluster is above the floor: s1 sends it nothing. "
        "Start s3 with raftline and without --floor; if other implementations take part, begin a "
        "cluster whose nodes all have --floor (docs/operate/upgrades.md)"
    ]
    proposed = node.step(Propose(["set a 1"]), node.view.now_ms)
    assert to(proposed, "s3") == [] != to(proposed, "s2")


def test_server_that_is_not_a_member_is_not_named() -> None:
    assert tell_floor(leader(), "s4").notes == []


def test_lost_connection_alone_keeps_what_was_announced() -> None:
    """The connection that a peer opened broke, but the one to that peer still stands."""
    node = leader()
    node.step(PeerDisconnected("s3"), node.view.now_ms)
    assert node._state.peer_builds == {"s2": True, "s3": True}


def test_server_without_a_build_gets_no_piece_of_a_snapshot() -> None:
    node = leader()
    node.step(SnapshotTaken(Snapshot(1, node.view.term, 100, 5)), node.view.now_ms)
    compact(node, 1)
    assert add(node, "s4") == []
    assert to(node.step(Tick(), node.wake_at_ms), "s4") == []
    tell(node, "s4")
    term, number = node.view.term, node.view.round
    lacks_all = Receive(AppendRejected("s4", "s1", term, 0, number))
    begun = to(node.step(lacks_all, node.view.now_ms), "s4")
    assert [type(message) for message in begun] == [InstallSnapshot] * 2
    lose(node, "s4")
    held = Receive(InstallSnapshotReply("s4", "s1", term, 1, term, 40, node.view.round))
    assert to(node.step(held, node.view.now_ms), "s4") == []
    assert to(node.step(Tick(), node.wake_at_ms + 1000), "s4") == []


def test_server_that_announces_no_build_is_not_added() -> None:
    node = leader()
    refusal = (
        "s4 announces no build, and this cluster is above the floor: start s4 with raftline and "
        "without --floor. Nothing was changed"
    )
    assert add(node, "s4", is_at_floor=True) == [refusal]
    tell_floor(node, "s4")  # as it answers on the leader's connection
    assert add(node, "s4") == [refusal]
    assert "s4" not in node.view.membership.names
    assert add(node, "s4", applies=frozenset()) == []
    assert "s4" in node.view.membership.names


def test_added_server_is_sent_nothing_until_it_announces() -> None:
    node = leader()
    change = Change("add", "s4", "s4:1")
    effects = node.step(ChangeMembers(change, "token"), node.view.now_ms)
    assert "s4" in node.view.membership.learners
    assert to(effects, "s4") == []
    assert to(tell(node, "s4"), "s4") != []


def test_cluster_at_the_floor_takes_any_server() -> None:
    node = established("s1", options=OPTIONS)
    assert tell_floor(node, "s3").notes == []
    assert to(node.step(Propose(["set a 1"]), node.view.now_ms), "s3") != []
    change = Change("add", "s4", "s4:1", is_at_floor=True)
    effects = node.step(ChangeMembers(change, "token"), node.view.now_ms)
    assert effects.settled == []
    assert to(effects, "s4") != []
