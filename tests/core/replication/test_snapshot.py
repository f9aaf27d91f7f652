"""Compaction and the two sides of InstallSnapshot, in small cases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftline.node.loop.measures import node_facts
from raftline.raft.effects import Chunk
from raftline.raft.inputs import (
    Propose,
    Receive,
    SnapshotChecked,
    SnapshotRejected,
    SnapshotTaken,
    Tick,
)
from raftline.raft.log import SafetyError, Snapshot
from raftline.raft.membership import all_vote
from raftline.raft.messages import (
    AppendAccepted,
    InstallSnapshot,
    InstallSnapshotReply,
    PeerError,
)
from raftline.raft.node import RawNode
from raftline.raft.progress import Mode
from raftline.raft.snapshot import ENTRY_BYTES, LAGGING
from raftline.wire.peer_lines import format_message
from raftline_testing.doubles.compacted_leader import (
    MEMBERS,
    SMALL,
    THREE_PIECES,
    fall_behind,
    leader_with_snapshot,
    pieces,
)
from raftline_testing.doubles.cores import (
    TIMEOUT_MS,
    acknowledge,
    append,
    applied,
    compact,
    established,
    log_of,
    node_of,
    sync,
)


def test_a_log_is_not_compacted_beyond_its_end() -> None:
    log = log_of(1, 1)
    with pytest.raises(SafetyError):
        log.compact(3)


def test_only_entries_that_a_snapshot_holds_are_dropped() -> None:
    node = established("s1", 1, 1, 1)
    assert node.view.compaction_index == 0
    with pytest.raises(SafetyError, match="would drop"):
        compact(node, 1)
    node = leader_with_snapshot()
    with pytest.raises(SafetyError, match="would drop"):
        compact(node, 4)


def test_a_snapshot_beyond_the_applied_index_stops_the_server() -> None:
    node = established("s1", 1, 1, 1)
    with pytest.raises(SafetyError, match="applied up to 4"):
        node.step(SnapshotTaken(Snapshot(5, 1, 10, 0)), TIMEOUT_MS)
    node.step(Propose(["set a 1"]), TIMEOUT_MS)
    sync(node)
    acknowledge(node, "s2")
    with pytest.raises(SafetyError, match="applied up to 4"):  # entry 5 is handed out alone
        node.step(SnapshotTaken(Snapshot(5, node.view.term, 10, 0)), TIMEOUT_MS)
    with pytest.raises(SafetyError, match="has term 1 there"):
        node.step(SnapshotTaken(Snapshot(2, 2, 10, 0)), TIMEOUT_MS)


KEEPS_SOME = replace(SMALL, trailing_bytes=250)


def go_on(node: RawNode) -> None:
    """Commit and apply three entries without s2, then take a snapshot and compact by it."""
    node.view.progress["s3"].heard_at_ms = node.view.now_ms
    node.step(Propose(["set a 1", "set b 2", "set c 3"]), node.view.now_ms)
    sync(node)
    acknowledge(node, "s3")
    applied(node)
    last, term = node.view.log.last_index, node.view.log.last_term
    node.step(SnapshotTaken(Snapshot(last, term, THREE_PIECES, 7)), node.view.now_ms)
    while compact(node, node.view.compaction_index):
        pass


def sending_amid_load() -> tuple[RawNode, list[InstallSnapshot]]:
    """Return a leader that began to send s2 its snapshot of entry 8, and the pieces."""
    node = established("s1", 1, 1, 1, 2, options=KEEPS_SOME)
    go_on(node)
    return node, fall_behind(node)


def test_entries_stay_for_a_follower_until_it_holds_them() -> None:
    node, sent = sending_amid_load()
    acknowledge(node, "s2", sent[0].snapshot.index)
    for _ in range(3):
        go_on(node)
    assert node.view.log.base_index == sent[0].snapshot.index
    acknowledge(node, "s2")
    go_on(node)
    go_on(node)
    assert node.view.log.base_index > sent[0].snapshot.index


def test_no_entries_stay_for_a_follower_that_is_silent() -> None:
    node, sent = sending_amid_load()
    node._state.now_ms += SMALL.election_timeout_ms
    go_on(node)
    go_on(node)
    assert node.view.log.base_index > sent[0].snapshot.index


def test_the_entries_that_stay_for_a_follower_are_bounded() -> None:
    node, sent = sending_amid_load()
    longest = 0
    for _ in range(20):
        go_on(node)
        assert node.view.snapshot is not None
        kept = node.view.snapshot.index - node.view.log.base_index
        longest = max(longest, kept * (len("set a 1") + ENTRY_BYTES))
    assert node.view.log.base_index > sent[0].snapshot.index
    assert KEEPS_SOME.trailing_bytes < longest <= LAGGING * KEEPS_SOME.trailing_bytes


def test_an_older_snapshot_never_takes_a_later_ones_place() -> None:
    node = leader_with_snapshot(4)
    node.step(SnapshotTaken(Snapshot(2, 1, 10, 0)), TIMEOUT_MS)
    assert node.view.snapshot is not None
    assert node.view.snapshot.index == 4


def held(node: RawNode, offset: int, number: int | None = None) -> InstallSnapshotReply:
    number = node.view.round if number is None else number
    return InstallSnapshotReply("s2", "s1", node.view.term, 3, 1, offset, number)


def test_a_leader_has_two_pieces_in_flight_and_none_in_memory() -> None:
    node = leader_with_snapshot()
    sent = fall_behind(node)
    assert [(p.offset, p.length, p.data) for p in sent] == [(0, 10, ""), (10, 10, "")]
    assert [(piece.offset, piece.length) for piece in pieces(node, held(node, 10))] == [(20, 5)]
    assert pieces(node, held(node, 20)) == []
    assert pieces(node, held(node, 25)) == []


def test_a_late_append_answer_does_not_end_a_snapshot_transfer() -> None:
    node = leader_with_snapshot()
    fall_behind(node)
    node.step(Receive(AppendAccepted("s2", "s1", node.view.term, 1, 1)), node.view.now_ms)
    assert node.view.progress["s2"].mode is Mode.SNAPSHOT
    caught_up = AppendAccepted("s2", "s1", node.view.term, 3, node.view.round)
    node.step(Receive(caught_up), node.view.now_ms)
    assert node.view.progress["s2"].mode is Mode.REPLICATE
    assert node.view.progress["s2"].sending is None


def test_an_answer_beyond_the_snapshots_end_is_refused() -> None:
    node = leader_with_snapshot()
    fall_behind(node)
    with pytest.raises(PeerError, match="can't hold 26 bytes"):
        node.step(Receive(held(node, 26)), node.view.now_ms)


SENT = Snapshot(7, 2, 8, 5)


def piece(offset: int, data: str, *, snapshot: Snapshot = SENT, term: int = 2) -> InstallSnapshot:
    return InstallSnapshot("s1", "s2", term, snapshot, offset, len(data), 3, data)


def test_snapshot_pieces_are_written_in_order_and_checked() -> None:
    node = node_of("s2", options=SMALL)
    effects = node.step(Receive(piece(0, "a 4\n")), 0)
    assert effects.chunks == [Chunk(0, b"a 4\n")]
    assert effects.wants_disk
    assert effects.check is None
    assert node_facts(node.view, 0)["arriving_bytes"] == 4
    effects = node.step(Receive(piece(4, "b 5\n")), 0)
    assert effects.chunks == [Chunk(4, b"b 5\n")]
    assert effects.check == Snapshot(7, 2, 8, 5)
    assert node.view.commit_index == 0
    effects = node.step(SnapshotChecked(Snapshot(7, 2, 8, 5), MEMBERS), 0)
    assert effects.install == Snapshot(7, 2, 8, 5)
    assert effects.wants_disk
    state = node.view
    assert (state.commit_index, state.applying, state.log.last_index) == (7, 7, 7)
    assert state.snapshot == Snapshot(7, 2, 8, 5)
    assert state.applied == 0  # the rim reports it once its state machine is that of the snapshot


def test_late_piece_of_an_earlier_snapshot_is_ignored() -> None:
    node = node_of("s2", options=SMALL)
    node.step(Receive(piece(0, "a 4\n", snapshot=Snapshot(9, 2, 8, 5))), 0)
    effects = node.step(Receive(piece(0, "a 4\n")), 0)
    assert effects.chunks == effects.send_after_save == []
    effects = node.step(Receive(piece(0, "a 4\n", term=3)), 0)  # a new leader's counts
    assert effects.chunks == [Chunk(0, b"a 4\n")]


def test_an_older_snapshot_than_the_nodes_own_is_not_installed() -> None:
    node = node_of("s2", *[1] * 6, term=2, options=SMALL)
    node.step(Receive(piece(0, "a 4\nb 5\n")), 0)
    node.step(Receive(append(2, (6, 1), 2, 2, 2, commit=9)), 0)
    applied(node)
    node.step(SnapshotTaken(Snapshot(9, 2, 8, 5)), 0)
    compact(node, 9)
    assert node.step(SnapshotChecked(SENT, MEMBERS), 0).install is None
    state = node.view
    assert (state.log.base_index, state.applied, state.commit_index) == (9, 9, 9)


def test_entries_that_follow_on_the_snapshot_stay() -> None:
    node = node_of("s2", term=2, options=SMALL)
    node.step(Receive(piece(0, "a 4\nb 5\n")), 0)
    node.step(Receive(append(2, (0, 0), *[1] * 6, 2, 2, 2, commit=3)), 0)  # while it was checked
    assert node.step(SnapshotChecked(SENT, MEMBERS), 0).install is None
    log = node.view.log
    assert (log.base_index, log.last_index, node.view.commit_index) == (0, 9, 7)


@pytest.mark.parametrize(("terms", "is_removed"), [((1, 1), True), ((), False)])
def test_a_member_that_a_later_snapshot_lacks_was_removed(
    terms: tuple[int, ...], is_removed: bool
) -> None:
    """A server without entries may be new: its own configuration names it, and it is added
    later."""
    node = node_of("s2", *terms, term=2, options=SMALL)
    node.step(Receive(piece(0, "a 4\nb 5\n")), 0)
    others = {"s1": "localhost:10000", "s3": "localhost:10002"}
    effects = node.step(SnapshotChecked(SENT, all_vote(others)), 0)
    line = (
        "[!] s2 was removed from the cluster before entry 8: it stands in no election and serves "
        "nobody. Stop it; to have it back, add it again"
    )
    assert (line in effects.notes, node.view.removed_by > 0) == (is_removed, is_removed)
    assert node.step(Tick(), 10).notes == []


def test_a_snapshot_that_arrived_damaged_is_requested_again() -> None:
    node = node_of("s2", options=SMALL)
    node.step(Receive(piece(0, "a 4\nb 5\n")), 0)
    said = node.step(SnapshotRejected(Snapshot(7, 2, 8, 5), "line 3: …"), 0).notes
    assert said == [
        "[!] s2 refuses the snapshot up to entry 7 that it received: line 3: …; the "
        "leader must send it again"
    ]
    effects = node.step(Receive(piece(8, "")), 0)
    assert format_message(effects.send_after_save[0]).startswith("GiveSnapshotAfterByte 0 of 7-2 ")


def test_a_new_snapshot_replaces_a_damaged_one() -> None:
    node = node_of("s2", *[1] * 6, options=SMALL)
    node.step(Receive(append(1, (6, 1), commit=6)), 0)
    applied(node)
    for again in (Snapshot(6, 1, 8, 5), Snapshot(6, 1, 8, 6)):
        node.step(SnapshotTaken(again), 0)
        assert node.view.snapshot == again
    node.step(SnapshotTaken(Snapshot(5, 1, 8, 6)), 0)
    assert node.view.snapshot == Snapshot(6, 1, 8, 6)


def test_log_in_conflict_with_a_snapshots_end_is_dropped() -> None:
    node = node_of("s2", *[1] * 9, term=2, options=SMALL)
    node.step(Receive(piece(0, "a 4\nb 5\n")), 0)
    node.step(SnapshotChecked(Snapshot(7, 2, 8, 5), MEMBERS), 0)
    log = node.view.log
    assert (log.base_index, log.last_term, log.last_index) == (7, 2, 7)
    assert node.view.durable_index <= 7
