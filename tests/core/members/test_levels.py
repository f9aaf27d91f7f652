"""The level of a cluster in its core: when it rises, whom it keeps out, and where it is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftline.raft.change import Change
from raftline.raft.effects import Effects
from raftline.raft.inputs import (
    ChangeMembers,
    PeerDisconnected,
    PeerLevel,
    Propose,
    Receive,
    SnapshotChecked,
    SnapshotTaken,
    Tick,
    Transfer,
)
from raftline.raft.levels import FLOOR, Levels, LevelTooHigh, read, spell
from raftline.raft.log import Entry, SafetyError, Snapshot
from raftline.raft.membership import Membership
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    InstallSnapshot,
    InstallSnapshotReply,
    RequestVoteReply,
)
from raftline.raft.node import RawNode
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    acknowledge,
    append,
    applied,
    compact,
    established,
    node_of,
    sync,
)

NEWER = replace(OPTIONS, level=3, chunk_bytes=40)
IDENTITY = "9f86d081884c7d65"
NEWEST = replace(NEWER, level=4, cluster_if_new=IDENTITY)
RAISES = spell(4, IDENTITY)
ADDRESSES = {name: f"{name}:1" for name in ("s1", "s2", "s3", "s4")}
THREE = Membership(("s1", "s2", "s3"), addresses={n: ADDRESSES[n] for n in ("s1", "s2", "s3")})


def leader(voters: Membership = THREE, **more: object) -> RawNode:
    """Return s1, which leads and whose build is of level 3; its peers have announced nothing."""
    return established("s1", voters=voters, options=NEWER, **more)


def tell(node: RawNode, peer: str, level: int = 3) -> Effects:
    return node.step(PeerLevel(peer, level), node.view.now_ms)


def commands(effects: Effects) -> list[str]:
    return [entry.command for entry in effects.append]


def raised(node: RawNode) -> RawNode:
    """Return a leader whose followers have announced level 3 and hold the entry of it."""
    for peer in node.view.peers:
        tell(node, peer)
    sync(node)
    for peer in node.view.peers:
        acknowledge(node, peer)
    return node


def to(effects: Effects, peer: str) -> list[object]:
    """Return what is sent to a peer."""
    return [message for message in effects.messages() if message.to == peer]


# --- when it rises -----------------------------------------------------------------------------


def test_the_leader_raises_the_level_once_every_member_has_announced_its_own() -> None:
    node = leader()
    assert commands(tell(node, "s2")) == []
    effects = tell(node, "s3")
    assert commands(effects) == ["level 3"]
    assert effects.level == 3  # for NAME.storage, before the log
    assert effects.notes == ["[*] Entry 2 raises this cluster to level 3"]
    assert [message.entries[0].command for message in effects.send] == ["level 3"] * 2  # type: ignore[union-attr]


def test_the_level_rises_once() -> None:
    node = leader()
    tell(node, "s2")
    tell(node, "s3")
    assert commands(tell(node, "s3")) == []
    assert commands(acknowledge(node, "s2")) == []


def test_a_learner_has_to_tell_as_well() -> None:
    members = Membership(("s1", "s2"), ("s3",), addresses=THREE.addresses)
    node = leader(members)
    assert commands(tell(node, "s2")) == []
    assert commands(tell(node, "s3")) == ["level 3"]


def test_both_halves_of_a_joint_configuration_have_to_tell() -> None:
    node = leader()
    node.step(ChangeMembers(Change("remove", "s3"), "token"), node.view.now_ms)
    assert node.view.membership.is_joint
    assert "s3" not in node.view.membership.voters
    assert commands(tell(node, "s2")) == []
    assert commands(tell(node, "s3")) == ["level 3"]


@pytest.mark.parametrize("level", [1, 0])
def test_a_member_below_keeps_the_level_where_it_is(level: int) -> None:
    node = leader()
    tell(node, "s2")
    assert commands(tell(node, "s3", level)) == []


def test_a_member_whose_connection_broke_has_announced_nothing() -> None:
    node = leader()
    tell(node, "s2")
    tell(node, "s2", 0)
    assert commands(tell(node, "s3")) == []


def test_a_build_of_the_floor_raises_nothing() -> None:
    node = established("s1", voters=THREE)
    tell(node, "s2")
    assert commands(tell(node, "s3")) == []


def test_who_gives_way_raises_nothing() -> None:
    node = leader()
    tell(node, "s2")
    node.step(Transfer("s2"), node.view.now_ms)
    assert commands(tell(node, "s3")) == []


def test_a_new_leader_raises_the_level_with_its_no_op() -> None:
    node = node_of("s1", voters=THREE, options=NEWER)
    assert commands(tell(node, "s2")) == commands(tell(node, "s3")) == []
    node.step(Tick(), TIMEOUT_MS)
    granted = [RequestVoteReply("s2", "s1", 1, True, pre_vote=is_pre) for is_pre in (True, False)]
    effects = [node.step(Receive(reply), TIMEOUT_MS) for reply in granted]
    assert commands(effects[-1]) == ["noop", "level 3"]


@pytest.mark.parametrize(
    ("announced", "level"),
    [((4, 4), [RAISES]), ((4, 3), ["level 3"]), ((3, 3), ["level 3"]), ((4, 1), []), ((4, 2), [])],
)
def test_the_level_rises_to_the_highest_that_all_members_know(
    announced: tuple[int, int], level: list[str]
) -> None:
    """From the floor to level 4 it is one entry; a member of level 3 holds the others there."""
    node = established("s1", voters=THREE, options=NEWEST)
    tell(node, "s2", announced[0])
    assert commands(tell(node, "s3", announced[1])) == level


def test_a_level_rises_further_when_the_last_member_is_upgraded() -> None:
    node = raised(established("s1", voters=THREE, options=NEWEST))
    assert node.view.levels.latest == 3
    assert commands(tell(node, "s2", 4)) == []
    effects = tell(node, "s3", 4)
    assert (commands(effects), effects.level) == ([RAISES], 4)


def test_a_server_of_level_3_is_sent_nothing_once_the_log_has_level_4() -> None:
    node = raised(established("s1", voters=THREE, options=NEWEST))
    for peer in ("s2", "s3"):
        tell(node, peer, 4)
    effects = tell(node, "s3", 3)
    assert effects.notes == [
        "[!] s3 runs a build of level 3, and this cluster is at level 4: s1 sends it nothing. "
        "Start s3 with a newer version"
    ]
    proposed = node.step(Propose(["set a 1"]), node.view.now_ms)
    assert to(proposed, "s3") == [] != to(proposed, "s2")


# --- whom it keeps out ---------------------------------------------------------------------------


def test_a_leader_sends_nothing_of_a_level_to_a_server_that_has_not_announced_it() -> None:
    node = raised(leader())
    tell(node, "s3", 0)
    heartbeat_ms = node.wake_at_ms
    for now_ms in range(heartbeat_ms, heartbeat_ms + 100, 50):
        assert to(node.step(Propose(["set a 1"]), now_ms), "s3") == []
        assert to(node.step(Tick(), now_ms), "s3") == []
    answer = AppendAccepted("s3", "s1", node.view.term, 1, node.view.round)
    assert to(node.step(Receive(answer), node.view.now_ms), "s3") == []


def test_it_speaks_at_once_to_a_server_that_tells() -> None:
    node = raised(leader())
    tell(node, "s3", 0)
    assert [type(message) for message in to(tell(node, "s3"), "s3")] == [AppendEntries]


def test_a_server_below_is_named_and_sent_nothing() -> None:
    node = raised(leader())
    effects = tell(node, "s3", 1)
    assert to(effects, "s3") == []
    assert effects.notes == [
        "[!] s3 runs a build of level 1, and this cluster is at level 3: s1 sends it nothing. "
        "Start s3 with a newer version"
    ]


def test_a_lost_connection_alone_keeps_what_was_announced() -> None:
    """The connection that a peer made broke; the one to it tells for itself."""
    node = raised(leader())
    node.step(PeerDisconnected("s3"), node.view.now_ms)
    assert node._state.peer_levels == {"s2": 3, "s3": 3}


def test_a_server_below_gets_no_piece_of_a_snapshot() -> None:
    node = raised(leader())
    applied(node)
    node.step(SnapshotTaken(Snapshot(2, node.view.term, 100, 5)), node.view.now_ms)
    compact(node, 2)
    assert add(node, "s4", 3) == []
    assert to(node.step(Tick(), node.wake_at_ms), "s4") == []
    tell(node, "s4")
    term, number = node.view.term, node.view.round
    lacks_all = Receive(AppendRejected("s4", "s1", term, 0, number))
    begun = to(node.step(lacks_all, node.view.now_ms), "s4")
    assert [type(message) for message in begun] == [InstallSnapshot] * 2
    tell(node, "s4", 0)
    held = Receive(InstallSnapshotReply("s4", "s1", term, 2, term, 40, node.view.round))
    assert to(node.step(held, node.view.now_ms), "s4") == []
    assert to(node.step(Tick(), node.wake_at_ms + 1000), "s4") == []


def add(node: RawNode, name: str, level: int = 0) -> list[str]:
    """Ask a leader to add a server; return the refusals."""
    change = Change("add", name, ADDRESSES[name], level=level)
    effects = node.step(ChangeMembers(change, "token"), node.view.now_ms)
    return [settled.text for settled in effects.settled]


def test_a_server_below_the_level_is_not_added() -> None:
    node = raised(leader())
    assert add(node, "s4", 1) == [
        "s4 runs a build of level 1, and this cluster is at level 3: start s4 with a newer "
        "version. Nothing was changed"
    ]
    assert "s4" not in node.view.membership.names
    assert add(node, "s4", 3) == []
    assert "s4" in node.view.membership.names


def test_a_server_that_has_announced_nothing_is_added_and_sent_nothing() -> None:
    node = raised(leader())
    change = Change("add", "s4", ADDRESSES["s4"])
    effects = node.step(ChangeMembers(change, "token"), node.view.now_ms)
    assert "s4" in node.view.membership.learners
    assert to(effects, "s4") == []
    assert to(tell(node, "s4"), "s4") != []


def test_in_a_cluster_at_the_floor_any_server_is_added_and_keeps_it_there() -> None:
    node = leader()
    tell(node, "s2")
    assert add(node, "s4", 1) == []
    assert commands(tell(node, "s3")) == []


# --- where it is kept ----------------------------------------------------------------------------


def entries(*levels: str) -> AppendEntries:
    """Return an AppendEntries of term 1 that holds these commands from index 1 on."""
    listed = [Entry(index, 1, command) for index, command in enumerate(levels, start=1)]
    return AppendEntries("s1", "s2", 1, 0, 0, listed, 0, 1)


def test_a_follower_notes_the_level_before_its_log_does() -> None:
    node = node_of("s2", voters=THREE, options=NEWER)
    effects = node.step(Receive(entries("noop", "level 3")), 0)
    assert effects.level == 3
    assert node.view.levels.latest == 3
    assert node.view.levels.at(node.view.applying) == FLOOR


def test_a_level_that_is_cut_off_is_forgotten() -> None:
    node = node_of("s2", voters=THREE, options=NEWER)
    node.step(Receive(entries("noop", "level 3")), 0)
    node.step(Receive(append(2, (1, 1), 2, sender="s3")), 0)
    assert node.view.levels.latest == FLOOR


def test_a_server_stops_at_a_level_above_its_own() -> None:
    node = node_of("s2", voters=THREE, options=NEWER)
    with pytest.raises(LevelTooHigh) as stopped:
        node.step(Receive(entries("noop", "level 4")), 0)
    assert isinstance(stopped.value, SafetyError)
    assert str(stopped.value) == (
        "entry 2 raises this cluster to level 4, and this build of s2 knows levels up to 3: "
        "start it with a newer version"
    )


def test_a_snapshot_that_arrives_brings_its_level() -> None:
    node = node_of("s2", term=1, voters=THREE, options=NEWER)
    snapshot = Snapshot(7, 1, 3, 5)
    node.step(Receive(InstallSnapshot("s1", "s2", 1, snapshot, 0, 3, 1, "abc")), 0)
    effects = node.step(SnapshotChecked(snapshot, THREE, 3), 0)
    assert (effects.install, effects.level) == (snapshot, 3)
    assert (node.view.levels.latest, node.view.levels.at(7)) == (3, 3)


@pytest.mark.parametrize(
    ("command", "level"),
    [
        ("level 3", 3), ("level 12", 12), ("level 0", 0), ("level", 0), ("level  3", 0),
        ("level 2", 0), ("level 1", 0), ("level 3 4", 0), ("level x", 0),
        ("level ٣", 0), ("level 1234567890", 0), ("set a 1", 0),
    ],
)  # fmt: skip
def test_one_command_alone_is_a_level(command: str, level: int) -> None:
    assert read(command).level == level
    assert not level or spell(level) == command


def test_the_level_of_each_place_in_a_log() -> None:
    levels = Levels(10, 3, ["set a 1", "level 4", "level 3", "level x", "level 5"])
    assert [levels.at(index) for index in range(9, 17)] == [3, 3, 3, 4, 4, 4, 5, 5]
    assert levels.latest == 5
    levels.compact(13)
    assert [levels.at(index) for index in (13, 14, 15)] == [4, 4, 5]
    levels.cut_after(14)
    assert levels.latest == 4
    assert not levels.append(15, "level 4")
    assert levels.append(15, "level 5")
