"""The identity of a cluster in its core: who draws it, when it counts, and what it keeps out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftline.raft.change import Change
from raftline.raft.effects import Effects
from raftline.raft.inputs import ChangeMembers, Receive, SnapshotChecked
from raftline.raft.levels import FLOOR, IDENTIFIED, Levels, Raise, read, spell
from raftline.raft.log import Entry, Snapshot
from raftline.raft.messages import AppendEntries, InstallSnapshot, PeerError
from raftline.raft.node import RawNode
from raftline_testing.doubles.cores import OPTIONS, established, node_of, sync

MINE, THEIRS = "9f86d081884c7d65", "3c6e0b8a9c15224a"
NEWER = replace(OPTIONS, level=IDENTIFIED, cluster_if_new=MINE)
RAISE = spell(IDENTIFIED, MINE)


def follower() -> RawNode:
    return node_of("s2", options=NEWER)


def hear(
    node: RawNode, *listed: str, commit_index: int = 0, term: int = 1, first: int = 1
) -> Effects:
    """Let a node hear its leader s1, which sends these commands from index `first` on."""
    entries = [Entry(index, term, command) for index, command in enumerate(listed, start=first)]
    before = node.view.log.term_at(first - 1) or 0
    message = AppendEntries("s1", node.view.name, term, first - 1, before, entries, commit_index, 1)
    return node.step(Receive(message), node.view.now_ms)


def test_a_server_of_another_cluster_is_not_added() -> None:
    node = established("s1", voters=("s1",), options=NEWER)
    sync(node)
    change = Change("add", "s4", "s4:1", level=IDENTIFIED, cluster=THEIRS)
    [settled] = node.step(ChangeMembers(change, "token"), node.view.now_ms).settled
    assert settled.text == (
        f"s4 has files of another cluster, {THEIRS}: move them away, and start s4 with --join. "
        "Nothing was changed"
    )
    mine = change._replace(cluster=MINE)
    assert node.step(ChangeMembers(mine, "token"), node.view.now_ms).settled == []


def test_a_later_entry_never_changes_the_identity() -> None:
    levels = Levels(0, FLOOR, ["noop", RAISE, spell(IDENTIFIED, THEIRS), spell(9, THEIRS)])
    assert (levels.latest, levels.clusters.latest) == (IDENTIFIED, MINE)


def test_an_identity_that_is_not_committed_proves_as_much_at_the_same_index_and_term() -> None:
    node = follower()
    hear(node, "noop", RAISE)
    assert node.view.cluster == ""
    with pytest.raises(PeerError):
        hear(node, "noop", spell(IDENTIFIED, THEIRS), "set a theirs")
    assert node.view.log.last_index == 2


def test_a_snapshot_of_another_cluster_is_refused() -> None:
    node = follower()
    hear(node, "noop", RAISE, commit_index=2)
    snapshot = Snapshot(7, 1, 3, 5)
    node.step(Receive(InstallSnapshot("s1", "s2", 1, snapshot, 0, 3, 1, "abc")), 0)
    members = node.view.membership
    effects = node.step(SnapshotChecked(snapshot, members, IDENTIFIED, THEIRS), 0)
    assert effects.install is None
    assert node.view.levels.clusters.latest == node.view.cluster == MINE
    (note,) = effects.notes
    assert f"it is of cluster {THEIRS}, and this is cluster {MINE}" in note


def test_a_log_of_level_4_that_holds_no_identity_gets_one() -> None:
    """A person may write such a log by hand."""
    node = established("s1", voters=("s1",), options=NEWER)
    sync(node)
    assert node.view.cluster == MINE
    levels = Levels(0, FLOOR, ["level 4"])
    assert levels.lacks_cluster
    assert levels.append(2, RAISE) is False
    assert (levels.lacks_cluster, levels.clusters.latest) == (False, MINE)


@pytest.mark.parametrize(
    ("command", "raised"),
    [
        (RAISE, Raise(4, MINE)),
        ("level 5", Raise(5, "")),
        (f"level 3 cluster {MINE}", Raise(0, "")),
        (f"level 4 cluster {MINE.upper()}", Raise(0, "")),
        (f"level 4 cluster {MINE}0", Raise(0, "")),
        (f"level 4 cluster {MINE} ", Raise(0, "")),
        ("level 4 cluster ", Raise(0, "")),
    ],
)
def test_one_spelling_alone_brings_an_identity(command: str, raised: Raise) -> None:
    assert read(command) == raised


def test_an_identity_that_is_rolled_back_leaves_room_for_that_of_another_leader() -> None:
    node = follower()
    hear(node, "noop", RAISE)
    other = [Entry(2, 2, "noop"), Entry(3, 2, spell(IDENTIFIED, THEIRS))]
    node.step(Receive(AppendEntries("s3", "s2", 2, 1, 1, other, 3, 1)), 0)
    assert node.view.cluster == THEIRS
