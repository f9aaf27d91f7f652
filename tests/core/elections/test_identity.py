"""The identity of a cluster in its core: who draws it, when it counts, and what it keeps out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftline.raft.change import Change
from raftline.raft.effects import Effects
from raftline.raft.inputs import ChangeMembers, PeerLevel, Receive, SnapshotChecked, Tick
from raftline.raft.levels import FLOOR, LOWEST, NOT_HEARD, Levels, Raise, level_command, read
from raftline.raft.log import Entry, Snapshot
from raftline.raft.messages import AppendEntries, InstallSnapshot, PeerError, RequestVoteReply
from raftline.raft.node import RawNode
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    acknowledge,
    candidate_of,
    established,
    leader_of,
    node_of,
    sync,
)

MINE, THEIRS = "9f86d081884c7d65", "3c6e0b8a9c15224a"
NEWER = replace(OPTIONS, level=LOWEST, cluster_if_new=MINE)
IDENTIFIES, OTHER = level_command(LOWEST, MINE), level_command(LOWEST, THEIRS)


def follower() -> RawNode:
    return node_of("s2", options=NEWER)


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
    node = candidate_of("s1", options=NEWER)
    assert node.view.log.commands == []
    node = leader_of("s1", options=NEWER)
    assert node.view.log.commands == [IDENTIFIES]
    assert (node.view.levels.latest, node.view.levels.clusters.latest) == (LOWEST, MINE)


def test_identity_needs_only_a_quorum() -> None:
    """s3 never ran; s2 alone announced its level and acknowledges entries."""
    node = leader_of("s1", options=NEWER)
    assert node.view.cluster == ""
    node.step(PeerLevel("s2", LOWEST), node.view.now_ms)
    (message,) = acknowledge(node, "s2", 0).messages()  # of the probe before the entry
    assert isinstance(message, AppendEntries)
    assert [entry.command for entry in message.entries] == [IDENTIFIES]
    acknowledge(node, "s2")
    assert node.view.cluster == MINE
    assert node.view.commit_index == 1


def test_leader_of_a_log_with_an_identity_appends_a_no_op() -> None:
    node = node_of("s2", options=replace(NEWER, cluster_if_new=THEIRS))
    hear(node, IDENTIFIES)
    win(node, node.view.now_ms + 4 * TIMEOUT_MS)
    assert node.view.log.commands == [IDENTIFIES, "noop"]


@pytest.mark.parametrize(
    "options", [replace(NEWER, level=FLOOR), replace(NEWER, cluster_if_new="")]
)
def test_leader_at_the_floor_appends_a_no_op(options: object) -> None:
    """It was started with --floor, or the core has no identity to propose."""
    node = established("s1", options=options)
    assert node.view.log.commands == ["noop"]
    assert (node.view.levels.latest, node.view.cluster) == (FLOOR, "")


def test_next_leader_gives_a_log_of_the_floor_its_identity() -> None:
    """All nodes were restarted without --floor."""
    node = established("s1", 1, 1, options=NEWER)
    assert node.view.log.commands[2:] == [IDENTIFIES]
    assert (node.view.levels.at(2), node.view.levels.at(3)) == (FLOOR, LOWEST)
    assert node.view.cluster == MINE


# --- which one counts ----------------------------------------------------------------------------


def test_identity_that_was_not_committed_is_replaced() -> None:
    """The first leader failed before a quorum had its entry; s3 leads next, with a new identity."""
    node = leader_of("s1", options=NEWER)
    assert node.view.log.commands == [IDENTIFIES]
    second = [Entry(1, 2, OTHER), Entry(2, 2, "set a 1")]
    node.step(Receive(AppendEntries("s3", "s1", 2, 0, 0, second, 2, 1)), node.view.now_ms)
    assert node.view.log.commands == [OTHER, "set a 1"]
    assert node.view.cluster == node.view.levels.clusters.latest == THEIRS


def test_later_entry_never_changes_the_identity() -> None:
    levels = Levels(0, FLOOR, ["noop", IDENTIFIES, OTHER, level_command(9, THEIRS)])
    assert (levels.latest, levels.clusters.latest) == (LOWEST, MINE)


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


@pytest.mark.parametrize("level", [LOWEST, NOT_HEARD])
def test_server_of_another_cluster_is_not_added(level: int) -> None:
    node = established("s1", voters=("s1",), options=NEWER)
    sync(node)
    change = Change("add", "s4", "s4:1", level=level, cluster=THEIRS)
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
    effects = node.step(SnapshotChecked(snapshot, members, LOWEST, THEIRS), 0)
    assert effects.install is None
    assert node.view.levels.clusters.latest == node.view.cluster == MINE
    (note,) = effects.notes
    assert f"it is of cluster {THEIRS}, and this is cluster {MINE}" in note


@pytest.mark.parametrize(
    ("command", "raised"),
    [
        (IDENTIFIES, Raise(1, MINE)),
        (f"cluster {MINE} level 12", Raise(12, MINE)),
        (f"cluster {MINE.upper()} level 1", Raise(FLOOR, "")),
        (f"cluster {MINE}0 level 1", Raise(FLOOR, "")),
        (f"cluster {MINE[1:]} level 1", Raise(FLOOR, "")),
        (f"cluster {MINE} level 0", Raise(FLOOR, "")),
        (f"cluster {MINE} level 1 ", Raise(FLOOR, "")),
        (f"cluster {MINE}", Raise(FLOOR, "")),
        ("cluster - level 1", Raise(FLOOR, "")),
        (f"level 4 cluster {MINE}", Raise(FLOOR, "")),
        ("level 1", Raise(FLOOR, "")),
    ],
)
def test_one_form_alone_brings_an_identity(command: str, raised: Raise) -> None:
    assert read(command) == raised
