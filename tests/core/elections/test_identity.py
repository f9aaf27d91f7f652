"""The identity of a cluster in its core: who draws it, when it counts, and what it keeps out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftline.raft.change import Change
from raftline.raft.effects import Effects
from raftline.raft.identity import (
    CannotApply,
    ClusterIdentity,
    IdentityEntry,
    identity_command,
    read,
)
from raftline.raft.inputs import ChangeMembers, PeerBuild, Receive, SnapshotChecked, Tick
from raftline.raft.log import Entry, Snapshot
from raftline.raft.messages import AppendEntries, InstallSnapshot, PeerError, RequestVoteReply
from raftline.raft.node import RawNode
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    acknowledge,
    append,
    candidate_of,
    established,
    leader_of,
    node_of,
    sync,
)

MINE, THEIRS = "9f86d081884c7d65", "3c6e0b8a9c15224a"
REDIS = "redis=0123456789ab"
ABOVE_FLOOR = replace(OPTIONS, cluster_if_new=MINE)
IDENTIFIES, OTHER = identity_command(MINE), identity_command(THEIRS)


def follower() -> RawNode:
    return node_of("s2", options=ABOVE_FLOOR)


def hear(
    node: RawNode, *listed: str, commit_index: int = 0, term: int = 1, first: int = 1
) -> Effects:
    """Make a node hear its leader s1, which sends these commands from index `first` on."""
    entries = [Entry(index, term, command) for index, command in enumerate(listed, start=first)]
    before = node.view.log.term_at(first - 1) or 0
    message = AppendEntries("s1", node.view.name, term, first - 1, before, entries, commit_index, 1)
    return node.step(Receive(message), node.view.now_ms)


def win(node: RawNode, now_ms: int) -> None:
    """Make s2 win an election at this time with the vote of s3."""
    node.step(Tick(), now_ms)
    for is_pre in (True, False):
        term = node.view.term + is_pre
        node.step(Receive(RequestVoteReply("s3", "s2", term, True, pre_vote=is_pre)), now_ms)
    assert node.view.is_leader


# --- who draws it --------------------------------------------------------------------------------


def test_first_leader_begins_the_log_with_the_identity() -> None:
    node = candidate_of("s1", options=ABOVE_FLOOR)
    assert node.view.log.commands == []
    node = leader_of("s1", options=ABOVE_FLOOR)
    assert node.view.log.commands == [IDENTIFIES]
    assert (node.view.identity.latest, node.view.identity.is_at_floor) == (MINE, False)


def test_identity_needs_only_a_quorum() -> None:
    """s3 never ran; s2 alone told its build and acknowledges entries."""
    node = leader_of("s1", options=ABOVE_FLOOR)
    assert node.view.cluster == ""
    node.step(PeerBuild("s2", frozenset()), node.view.now_ms)
    (message,) = acknowledge(node, "s2", 0).messages()  # of the probe before the entry
    assert isinstance(message, AppendEntries)
    assert [entry.command for entry in message.entries] == [IDENTIFIES]
    acknowledge(node, "s2")
    assert node.view.cluster == MINE
    assert node.view.commit_index == 1


def test_leader_of_a_log_with_an_identity_appends_a_no_op() -> None:
    node = node_of("s2", options=replace(ABOVE_FLOOR, cluster_if_new=THEIRS))
    hear(node, IDENTIFIES)
    win(node, node.view.now_ms + 4 * TIMEOUT_MS)
    assert node.view.log.commands == [IDENTIFIES, "noop"]


def test_leader_at_the_floor_appends_a_no_op() -> None:
    """It was started with --floor, so it has no identity to propose."""
    node = established("s1", options=OPTIONS)
    assert node.view.log.commands == ["noop"]
    assert (node.view.identity.is_at_floor, node.view.cluster) == (True, "")


def test_next_leader_gives_a_log_of_the_floor_its_identity() -> None:
    """All nodes were restarted without --floor."""
    node = established("s1", 1, 1, options=ABOVE_FLOOR)
    assert node.view.log.commands[2:] == [IDENTIFIES]
    assert (node.view.identity.at(2), node.view.identity.at(3)) == ("", MINE)
    assert node.view.cluster == MINE


# --- which one counts ----------------------------------------------------------------------------


def test_identity_that_was_not_committed_is_replaced() -> None:
    """The first leader failed before a quorum had its entry; s3 leads next, with a new identity."""
    node = leader_of("s1", options=ABOVE_FLOOR)
    assert node.view.log.commands == [IDENTIFIES]
    second = [Entry(1, 2, OTHER), Entry(2, 2, "set a 1")]
    node.step(Receive(AppendEntries("s3", "s1", 2, 0, 0, second, 2, 1)), node.view.now_ms)
    assert node.view.log.commands == [OTHER, "set a 1"]
    assert node.view.cluster == node.view.identity.latest == THEIRS


def test_later_entry_never_changes_the_identity() -> None:
    commands = ["noop", IDENTIFIES, OTHER, identity_command(THEIRS, REDIS), IDENTIFIES]
    identity = ClusterIdentity(0, "", commands)
    assert (identity.latest, identity.index, identity.needs.latest) == (MINE, 2, "")


def test_identity_that_is_cut_off_is_forgotten() -> None:
    node = follower()
    hear(node, IDENTIFIES)
    assert (node.view.identity.latest, node.view.identity.at(node.view.applying)) == (MINE, "")
    node.step(Receive(append(2, (0, 0), 2, sender="s3")), 0)
    assert node.view.identity.is_at_floor


def test_identity_counts_once_it_is_committed() -> None:
    node = follower()
    hear(node, IDENTIFIES)
    assert node.view.cluster == ""
    hear(node, "set a 1", commit_index=1, first=2)
    assert node.view.cluster == MINE


def test_leader_with_another_entry_at_a_place_is_refused() -> None:
    """The identity is not committed here yet, but another entry of the same index and term shows
    that the leader is foreign."""
    node = follower()
    hear(node, IDENTIFIES)
    with pytest.raises(PeerError):
        hear(node, OTHER, "set a theirs")
    assert node.view.log.last_index == 1


# --- what it keeps out ---------------------------------------------------------------------------


@pytest.mark.parametrize("applies", [frozenset(), None])
def test_server_of_another_cluster_is_not_added(applies: frozenset[str] | None) -> None:
    node = established("s1", voters=("s1",), options=ABOVE_FLOOR)
    sync(node)
    change = Change("add", "s4", "s4:1", applies=applies, cluster=THEIRS)
    [settled] = node.step(ChangeMembers(change, "token"), node.view.now_ms).settled
    assert settled.text == (
        f"s4 has files of another cluster, {THEIRS}: move them away, and start s4 with --join. "
        "Nothing was changed"
    )
    mine = change._replace(cluster=MINE)
    assert node.step(ChangeMembers(mine, "token"), node.view.now_ms).settled == []


def test_snapshot_of_another_cluster_is_refused() -> None:
    node = follower()
    hear(node, IDENTIFIES, commit_index=1)
    snapshot = Snapshot(7, 1, 3, 5)
    node.step(Receive(InstallSnapshot("s1", "s2", 1, snapshot, 0, 3, 1, "abc")), 0)
    members = node.view.membership
    effects = node.step(SnapshotChecked(snapshot, members, THEIRS), 0)
    assert effects.install is None
    assert node.view.identity.latest == node.view.cluster == MINE
    (note,) = effects.notes
    assert f"it is of cluster {THEIRS}, and this is cluster {MINE}" in note


def test_snapshot_that_arrives_brings_its_identity() -> None:
    node = node_of("s2", term=1, options=ABOVE_FLOOR)
    snapshot = Snapshot(7, 1, 3, 5)
    node.step(Receive(InstallSnapshot("s1", "s2", 1, snapshot, 0, 3, 1, "abc")), 0)
    effects = node.step(SnapshotChecked(snapshot, node.view.membership, MINE, REDIS), 0)
    assert (effects.install, effects.cluster) == (snapshot, MINE)
    identity = node.view.identity
    assert identity.latest == identity.at(7) == node.view.cluster == MINE
    assert identity.needs.latest == REDIS


def test_server_at_the_floor_stops_at_an_identity() -> None:
    node = node_of("s2", options=OPTIONS)
    with pytest.raises(CannotApply) as stopped:
        hear(node, "noop", IDENTIFIES)
    assert str(stopped.value) == (
        "entry 2 gives this cluster an identity, and s2 is at the floor: start it without --floor"
    )


# --- its form ------------------------------------------------------------------------------------


@pytest.mark.parametrize("needs", ["", REDIS, f"kernel=ba9876543210 {REDIS}"])
def test_entry_with_an_identity_is_read_as_written(needs: str) -> None:
    assert identity_command(MINE) == f"cluster {MINE} level 1"
    assert read(identity_command(MINE, needs)) == IdentityEntry(MINE, needs)


@pytest.mark.parametrize(
    "command",
    [
        f"cluster {MINE}", "level 1", f"level 4 cluster {MINE}", "cluster - level 1",
        *[f"cluster {other} level 1" for other in (MINE.upper(), f"{MINE}0", MINE[1:])],
        *[
            f"cluster {MINE} level{rest}"
            for rest in (
                "", " 0", " 2", " 12", " x", "  1", " 01", " 1 ", " 1 2", " 1\n", " \u0661",
                " 1 with", f" 1 {REDIS}", f" 2 with {REDIS}",
            )
        ],
        f"set a {IDENTIFIES}",
    ],
)  # fmt: skip
def test_no_other_form_brings_an_identity(command: str) -> None:
    assert read(command) == IdentityEntry("")
