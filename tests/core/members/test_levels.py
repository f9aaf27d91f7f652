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
from raftline.raft.levels import FLOOR, LOWEST, NOT_HEARD, LevelTooHigh, level_command, read
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
from raftline.raft.upgrade import PATIENCE
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
from raftline_testing.doubles.rising_leader import (
    ADDRESSES,
    FIRST,
    IDENTITY,
    NEWER,
    THREE,
    leader,
    raised,
    tell,
)

IDENTIFIES, RAISES = level_command(1, IDENTITY), level_command(2, IDENTITY)


def commands(effects: Effects) -> list[str]:
    return [entry.command for entry in effects.append]


def wait_for_members(node: RawNode) -> Effects:
    """Pass the time for which a new leader waits for members that were never heard, with s2
    alive; return the effects of the last moment."""
    until_ms = node._state.as_leader.since_ms + PATIENCE * OPTIONS.election_timeout_ms
    while node.view.now_ms < until_ms - 1:
        acknowledge(node, "s2")
        assert commands(node.step(Tick(), min(node.wake_at_ms, until_ms - 1))) == []
    return node.step(Tick(), until_ms)


def to(effects: Effects, peer: str) -> list[object]:
    """Return what is sent to a peer."""
    return [message for message in effects.messages() if message.to == peer]


# --- when it rises -----------------------------------------------------------------------------


def test_level_rises_once_every_member_announced_it() -> None:
    node = leader()
    assert commands(tell(node, "s2")) == []
    effects = tell(node, "s3")
    assert commands(effects) == [RAISES]
    assert effects.level == 2  # for NAME.storage, before the log
    assert effects.notes == ["[*] Entry 2 raises this cluster to level 2"]
    assert [type(to(effects, peer)[-1]) for peer in ("s2", "s3")] == [AppendEntries] * 2


def test_level_rises_once() -> None:
    node = leader()
    tell(node, "s2")
    tell(node, "s3")
    assert commands(tell(node, "s3")) == []
    assert commands(acknowledge(node, "s2")) == []


def test_learner_must_announce_the_level_as_well() -> None:
    members = Membership(("s1", "s2"), ("s3",), addresses=THREE.addresses)
    node = leader(members)
    assert commands(tell(node, "s2")) == []
    assert commands(tell(node, "s3")) == [RAISES]


def test_both_halves_of_a_joint_configuration_must_announce() -> None:
    node = leader()
    node.step(ChangeMembers(Change("remove", "s3"), "token"), node.view.now_ms)
    assert node.view.membership.is_joint
    assert "s3" not in node.view.membership.voters
    assert commands(tell(node, "s2")) == []
    assert commands(tell(node, "s3")) == [RAISES]


@pytest.mark.parametrize("level", [LOWEST, FLOOR, NOT_HEARD])
def test_member_below_the_level_keeps_it_where_it_is(level: int) -> None:
    node = leader()
    tell(node, "s2")
    assert commands(tell(node, "s3", level)) == []


def test_broken_connection_withdraws_an_announcement() -> None:
    node = leader()
    tell(node, "s2")
    tell(node, "s2", NOT_HEARD)
    assert commands(tell(node, "s3")) == []


def test_quorum_raises_without_a_member_never_heard() -> None:
    """s3 never ran, so it can hold no entry of a lower level."""
    node = leader()
    tell(node, "s2")
    assert commands(wait_for_members(node)) == [RAISES]


def test_less_than_a_quorum_raises_nothing() -> None:
    node = leader()
    assert commands(wait_for_members(node)) == []


def test_quorum_of_both_halves_must_have_announced() -> None:
    """s1 and s3 are a quorum of the three, but not of s1 and s2, which remain."""
    node = leader()
    node.step(ChangeMembers(Change("remove", "s3"), "token"), node.view.now_ms)
    late_ms = node.view.now_ms + PATIENCE * OPTIONS.election_timeout_ms
    assert commands(node.step(PeerLevel("s3", 2), late_ms)) == []
    assert commands(node.step(PeerLevel("s2", 2), late_ms)) == [RAISES]


@pytest.mark.parametrize("last", [2, LOWEST, FLOOR])
def test_member_heard_before_and_gone_keeps_the_level(last: int) -> None:
    """s3 may come back with an older build, whatever it last announced."""
    node = leader()
    tell(node, "s3", last)
    tell(node, "s3", NOT_HEARD)
    tell(node, "s2")
    assert commands(wait_for_members(node)) == []
    assert commands(tell(node, "s3")) == [RAISES]


def test_new_leader_waits_again_for_members_never_heard() -> None:
    """s3 may be about to dial the leader, as each member does after its start."""
    node = node_of("s1", voters=THREE, options=NEWER)
    tell(node, "s2")
    late_ms = 2 * PATIENCE * OPTIONS.election_timeout_ms
    node.step(Tick(), late_ms)
    granted = [RequestVoteReply("s2", "s1", 1, True, pre_vote=is_pre) for is_pre in (True, False)]
    assert commands([node.step(Receive(reply), late_ms) for reply in granted][-1]) == [IDENTIFIES]
    sync(node)
    assert commands(wait_for_members(node)) == [RAISES]


def test_build_of_the_lowest_level_raises_nothing() -> None:
    node = established("s1", voters=THREE, options=FIRST)
    tell(node, "s2")
    assert commands(tell(node, "s3")) == []


def test_floor_raises_nothing() -> None:
    """The node was started with --floor: its log has no identity."""
    node = established("s1", voters=THREE, options=replace(NEWER, level=FLOOR))
    tell(node, "s2")
    assert commands(tell(node, "s3")) == []
    assert node.view.log.commands == ["noop"]


def test_leader_that_transfers_raises_nothing() -> None:
    node = leader()
    tell(node, "s2")
    node.step(Transfer("s2"), node.view.now_ms)
    assert commands(tell(node, "s3")) == []


def test_new_leader_raises_the_level_with_its_first_entry() -> None:
    """All members announced level 2 before the election."""
    node = node_of("s1", voters=THREE, options=NEWER)
    assert commands(tell(node, "s2")) == commands(tell(node, "s3")) == []
    node.step(Tick(), TIMEOUT_MS)
    granted = [RequestVoteReply("s2", "s1", 1, True, pre_vote=is_pre) for is_pre in (True, False)]
    effects = [node.step(Receive(reply), TIMEOUT_MS) for reply in granted]
    assert commands(effects[-1]) == [IDENTIFIES, RAISES]


@pytest.mark.parametrize(
    ("announced", "level"), [((3, 3), 3), ((3, 2), 2), ((2, 2), 2), ((3, 1), 0), ((3, 0), 0)]
)
def test_level_rises_to_the_highest_that_all_know(announced: tuple[int, int], level: int) -> None:
    """One entry raises it from level 1 to level 3."""
    node = established("s1", voters=THREE, options=replace(NEWER, level=3))
    tell(node, "s2", announced[0])
    expected = [level_command(level, IDENTITY)] if level else []
    assert commands(tell(node, "s3", announced[1])) == expected


def test_level_rises_when_the_last_member_is_upgraded() -> None:
    node = raised(established("s1", voters=THREE, options=replace(NEWER, level=3)))
    assert node.view.levels.latest == 2
    assert commands(tell(node, "s2", 3)) == []
    effects = tell(node, "s3", 3)
    assert (commands(effects), effects.level) == ([level_command(3, IDENTITY)], 3)


# --- whom it keeps out ---------------------------------------------------------------------------


def test_leader_sends_nothing_without_an_announcement() -> None:
    node = raised(leader())
    tell(node, "s3", NOT_HEARD)
    heartbeat_ms = node.wake_at_ms
    for now_ms in range(heartbeat_ms, heartbeat_ms + 100, 50):
        assert to(node.step(Propose(["set a 1"]), now_ms), "s3") == []
        assert to(node.step(Tick(), now_ms), "s3") == []
    answer = AppendAccepted("s3", "s1", node.view.term, 1, node.view.round)
    assert to(node.step(Receive(answer), node.view.now_ms), "s3") == []


def test_leader_sends_at_once_after_an_announcement() -> None:
    node = raised(leader())
    tell(node, "s3", NOT_HEARD)
    assert [type(message) for message in to(tell(node, "s3"), "s3")] == [AppendEntries]


def test_member_below_the_level_is_named_and_sent_nothing() -> None:
    """s3 was downgraded after it had announced level 2."""
    node = raised(leader())
    effects = tell(node, "s3", LOWEST)
    assert to(effects, "s3") == []
    assert effects.notes == [
        "[!] s3 runs a build of level 1, and this cluster is at level 2: s1 sends it nothing. "
        "Start s3 with a newer version (docs/operate/upgrades.md)"
    ]
    proposed = node.step(Propose(["set a 1"]), node.view.now_ms)
    assert to(proposed, "s3") == [] != to(proposed, "s2")


def test_member_that_announces_no_level_is_named() -> None:
    """It is another implementation, or was started with --floor."""
    node = established("s1", voters=THREE, options=FIRST)
    effects = tell(node, "s3", FLOOR)
    assert to(effects, "s3") == []
    assert effects.notes == [
        "[!] s3 announces no level, and this cluster is at level 1: s1 sends it nothing. Start s3 "
        "with raftline and without --floor; if other implementations take part, begin a cluster "
        "whose nodes all have --floor (docs/operate/upgrades.md)"
    ]


def test_server_that_is_not_a_member_is_not_named() -> None:
    node = established("s1", voters=THREE, options=FIRST)
    assert tell(node, "s4", FLOOR).notes == []


def test_lost_connection_alone_keeps_what_was_announced() -> None:
    """The connection that a peer opened broke, but the one to that peer still stands."""
    node = raised(leader())
    node.step(PeerDisconnected("s3"), node.view.now_ms)
    assert node._state.peer_levels == {"s2": 2, "s3": 2}


def test_member_below_the_level_gets_no_piece_of_a_snapshot() -> None:
    node = raised(leader())
    applied(node)
    node.step(SnapshotTaken(Snapshot(2, node.view.term, 100, 5)), node.view.now_ms)
    compact(node, 2)
    assert add(node, "s4", 2) == []
    assert to(node.step(Tick(), node.wake_at_ms), "s4") == []
    tell(node, "s4")
    term, number = node.view.term, node.view.round
    lacks_all = Receive(AppendRejected("s4", "s1", term, 0, number))
    begun = to(node.step(lacks_all, node.view.now_ms), "s4")
    assert [type(message) for message in begun] == [InstallSnapshot] * 2
    tell(node, "s4", NOT_HEARD)
    held = Receive(InstallSnapshotReply("s4", "s1", term, 2, term, 40, node.view.round))
    assert to(node.step(held, node.view.now_ms), "s4") == []
    assert to(node.step(Tick(), node.wake_at_ms + 1000), "s4") == []


def add(node: RawNode, name: str, level: int = NOT_HEARD) -> list[str]:
    """Ask a leader to add a server; return the refusals."""
    change = Change("add", name, ADDRESSES[name], level=level)
    effects = node.step(ChangeMembers(change, "token"), node.view.now_ms)
    return [settled.text for settled in effects.settled]


@pytest.mark.parametrize(
    ("level", "what"), [(LOWEST, "runs a build of level 1"), (FLOOR, "announces no level")]
)
def test_server_below_the_level_is_not_added(level: int, what: str) -> None:
    node = raised(leader())
    refusal = f"s4 {what}, and this cluster is at level 2: start s4 with a newer version."
    assert add(node, "s4", level) == [f"{refusal} Nothing was changed"]
    tell(node, "s4", level)  # as it announces itself on the leader's connection
    assert add(node, "s4") == [f"{refusal} Nothing was changed"]
    assert "s4" not in node.view.membership.names
    assert add(node, "s4", 2) == []
    assert "s4" in node.view.membership.names


def test_added_server_is_sent_nothing_until_it_announces() -> None:
    node = raised(leader())
    change = Change("add", "s4", ADDRESSES["s4"])
    effects = node.step(ChangeMembers(change, "token"), node.view.now_ms)
    assert "s4" in node.view.membership.learners
    assert to(effects, "s4") == []
    assert to(tell(node, "s4"), "s4") != []


def test_added_server_of_a_lower_level_keeps_the_level() -> None:
    node = leader()
    tell(node, "s2")
    assert add(node, "s4", LOWEST) == []
    tell(node, "s4", LOWEST)
    assert commands(tell(node, "s3")) == []


def test_cluster_at_the_floor_adds_any_server() -> None:
    node = established("s1", voters=THREE, options=OPTIONS)
    assert add(node, "s4", FLOOR) == []


# --- where it is kept ----------------------------------------------------------------------------


def entries(*listed: str) -> AppendEntries:
    """Return an AppendEntries of term 1 that holds these commands from index 1 on."""
    appended = [Entry(index, 1, command) for index, command in enumerate(listed, start=1)]
    return AppendEntries("s1", "s2", 1, 0, 0, appended, 0, 1)


def test_follower_notes_the_level_before_its_log_holds_it() -> None:
    node = node_of("s2", voters=THREE, options=NEWER)
    effects = node.step(Receive(entries(IDENTIFIES, RAISES)), 0)
    assert effects.level == 2
    assert node.view.levels.latest == 2
    assert node.view.levels.at(node.view.applying) == FLOOR


def test_level_that_is_cut_off_is_forgotten() -> None:
    node = node_of("s2", voters=THREE, options=NEWER)
    node.step(Receive(entries(IDENTIFIES, RAISES)), 0)
    node.step(Receive(append(2, (1, 1), 2, sender="s3")), 0)
    assert node.view.levels.latest == LOWEST


@pytest.mark.parametrize("supported", [FLOOR, LOWEST])
def test_server_stops_at_a_level_above_its_own(supported: int) -> None:
    node = node_of("s2", voters=THREE, options=replace(NEWER, level=supported))
    with pytest.raises(LevelTooHigh) as stopped:
        node.step(Receive(entries("noop", RAISES)), 0)
    assert isinstance(stopped.value, SafetyError)
    assert str(stopped.value) == (
        f"entry 2 raises this cluster to level 2, and s2 knows levels up to {supported}: start it "
        "with a newer version, or without --floor"
    )


def test_snapshot_that_arrives_brings_its_level() -> None:
    node = node_of("s2", term=1, voters=THREE, options=NEWER)
    snapshot = Snapshot(7, 1, 3, 5)
    node.step(Receive(InstallSnapshot("s1", "s2", 1, snapshot, 0, 3, 1, "abc")), 0)
    effects = node.step(SnapshotChecked(snapshot, THREE, 2, IDENTITY), 0)
    assert (effects.install, effects.level) == (snapshot, 2)
    assert (node.view.levels.latest, node.view.levels.at(7)) == (2, 2)


@pytest.mark.parametrize(
    ("words", "level"),
    [
        ("level 1", 1), ("level 2", 2), ("level 12", 12), ("level 0", 0), ("level", 0),
        ("level  1", 0), ("level 01", 0), ("level 1 2", 0), ("level x", 0), ("level ٣", 0),
        ("level 1234567890", 0),
    ],
)  # fmt: skip
def test_one_form_alone_is_a_level(words: str, level: int) -> None:
    command = f"cluster {IDENTITY} {words}"
    assert read(command).level == level
    assert not level or level_command(level, IDENTITY) == command
    assert read(words).level == read(f"set a {command}").level == FLOOR
