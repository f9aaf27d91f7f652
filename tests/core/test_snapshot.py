"""Compaction and the two sides of InstallSnapshot, in small cases."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.node.loop.measures import node_facts
from raftline.raft.effects import Chunk
from raftline.raft.inputs import (
    Propose,
    Receive,
    SnapshotChecked,
    SnapshotGone,
    SnapshotRejected,
    SnapshotTaken,
    Synced,
    Tick,
)
from raftline.raft.log import SafetyError, Snapshot
from raftline.raft.membership import all_vote
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    InstallSnapshot,
    InstallSnapshotReply,
    PeerError,
)
from raftline.raft.node import RawNode
from raftline.raft.progress import Mode
from raftline.raft.snapshot import ENTRY_BYTES, LAGGING
from raftline.raft.state import Options
from raftline.wire.peer_lines import spell
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

SMALL = Options(
    election_timeout_ms=150, heartbeat_ms=50, chunk_bytes=10, trailing_bytes=0, chunk_window=2
)
THREE_PIECES = 25

MEMBERS = all_vote({f"s{n}": f"localhost:{9999 + n}" for n in (1, 2, 3)})


# --- the log ------------------------------------------------------------------------------


@given(
    steps=st.lists(st.integers(0, 2), min_size=1, max_size=30),
    cut=st.integers(0, 30),
    more=st.lists(st.integers(0, 2), max_size=5),
)
def test_a_compacted_log_gives_the_same_answers_as_the_whole_one(
    steps: list[int], cut: int, more: list[int]
) -> None:
    terms = [1 + sum(steps[:place]) for place in range(len(steps))]
    whole, compacted = log_of(*terms), log_of(*terms)
    base = min(cut, len(terms))
    compacted.compact(base)
    for step in more:
        for log in (whole, compacted):
            log.append(log.last_term + step if log.last_term else 1 + step, "more")
    assert (compacted.last_index, compacted.last_term) == (whole.last_index, whole.last_term)
    for index in range(base, whole.last_index + 1):
        assert compacted.term_at(index) == whole.term_at(index)
    assert compacted.entries(base + 1, whole.last_index) == whole.entries(
        base + 1, whole.last_index
    )
    assert base == 0 or compacted.term_at(base - 1) is None
    for index in range(base + 1, whole.last_index + 1):
        first = max(whole.first_index_of_term_at(index), base + 1)
        assert compacted.first_index_of_term_at(index) == first


def test_a_log_is_not_compacted_beyond_its_end() -> None:
    log = log_of(1, 1)
    with pytest.raises(SafetyError):
        log.compact(3)


def test_a_log_that_was_reset_goes_on_after_the_snapshot() -> None:
    log = log_of(1, 1, 2)
    log.reset(9, 4)
    assert (log.base_index, log.last_index, log.last_term) == (9, 9, 4)
    log.append(4, "x")
    assert log.entries(10, 10)[0].term == 4
    assert log.term_at(3) is None


# --- compaction ---------------------------------------------------------------------------


def leader_with_snapshot(index: int = 3, size: int = THREE_PIECES) -> RawNode:
    """Return a leader of entries 1-5 (5 is its no-op), compacted up to `index`."""
    node = established("s1", 1, 1, 1, 2, options=SMALL)
    node.step(
        SnapshotTaken(Snapshot(index, node.view.log.term_at(index) or 0, size, 7)), TIMEOUT_MS
    )
    while compact(node, node.view.compaction_index):
        pass
    return node


def test_entries_after_a_snapshot_leave_memory() -> None:
    node = leader_with_snapshot()
    assert node.view.log.base_index == 3
    assert node.view.log.last_index == 5


def test_entries_are_dropped_some_at_a_time() -> None:
    node = node_of("s2", *[1] * 50_000, options=SMALL)
    node.step(Receive(append(1, (50_000, 1), commit=50_000)), 0)
    while node.view.applying < 50_000:
        node.step(Tick(), 0)
    applied(node)
    node.step(SnapshotTaken(Snapshot(50_000, 1, 10, 0)), 0)
    assert compact(node, 50_000)
    assert 0 < node.view.log.base_index < 50_000
    while compact(node, 50_000):
        pass
    assert node.view.log.base_index == 50_000


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


def test_some_entries_stay_in_memory_after_a_snapshot() -> None:
    options = Options(election_timeout_ms=150, heartbeat_ms=50, trailing_bytes=250)
    node = established("s1", 1, 1, 1, 1, 1, options=options)
    node.step(SnapshotTaken(Snapshot(6, 2, 10, 0)), TIMEOUT_MS)
    assert node.view.compaction_index == 3  # three entries of some 110 bytes each


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


def test_a_snapshot_is_of_use_though_later_ones_are_taken_while_it_is_sent() -> None:
    node, sent = sending_amid_load()
    index, term = sent[0].snapshot[:2]
    for offset in (10, 20, 25):
        go_on(node)
        answer = InstallSnapshotReply("s2", "s1", node.view.term, index, term, offset, 1)
        pieces(node, replace(answer, round=node.view.round))
    go_on(node)
    assert node.view.log.base_index == index
    effects = acknowledge(node, "s2", index)
    assert [one for one in effects.send_after_save if isinstance(one, InstallSnapshot)] == []
    (first, *_) = [one for one in effects.send if isinstance(one, AppendEntries)]
    assert (first.to, first.prev_index, first.entries[0].index) == ("s2", index, index + 1)


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


# --- the leader's side --------------------------------------------------------------------


def fall_behind(node: RawNode, peer: str = "s2") -> list[InstallSnapshot]:
    """Let a follower say that it has lost everything; return the pieces it is sent."""
    node.view.progress[peer].match_index = 0
    # It refuses what follows on its match index, and then what follows on the log's base.
    pieces(node, AppendRejected(peer, "s1", node.view.term, 0, node.view.round))
    return pieces(node, AppendRejected(peer, "s1", node.view.term, 0, node.view.round))


def pieces(
    node: RawNode, message: AppendRejected | InstallSnapshotReply | AppendAccepted
) -> list[InstallSnapshot]:
    effects = node.step(Receive(message), node.view.now_ms)
    return [m for m in effects.send_after_save if isinstance(m, InstallSnapshot)]


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


def test_the_other_followers_commit_while_one_gets_a_snapshot() -> None:
    node = leader_with_snapshot()
    fall_behind(node)
    effects = node.step(Propose(["set a 1"]), node.view.now_ms)
    assert {message.to for message in effects.send} == {"s3"}
    node.step(Synced(6, node.view.term), node.view.now_ms)
    assert acknowledge(node, "s3").apply[0].command == "set a 1"


def test_a_silent_follower_is_not_sent_a_snapshot() -> None:
    node = leader_with_snapshot()
    progress = node.view.progress["s2"]
    progress.match_index, progress.next_index = 0, 1
    node._state.now_ms += 1000
    acknowledge(node, "s3")
    node.step(Propose(["set a 1"]), node.view.now_ms)
    assert progress.mode is Mode.PROBE
    assert progress.next_index == 4


def test_a_late_append_answer_does_not_end_a_snapshot_transfer() -> None:
    node = leader_with_snapshot()
    fall_behind(node)
    node.step(Receive(AppendAccepted("s2", "s1", node.view.term, 1, 1)), node.view.now_ms)
    assert node.view.progress["s2"].mode is Mode.SNAPSHOT
    caught_up = AppendAccepted("s2", "s1", node.view.term, 3, node.view.round)
    node.step(Receive(caught_up), node.view.now_ms)
    assert node.view.progress["s2"].mode is Mode.REPLICATE
    assert node.view.progress["s2"].sending is None


def test_a_heartbeat_amid_a_snapshot_transfer_names_the_snapshots_end() -> None:
    node = leader_with_snapshot()
    fall_behind(node)
    node.step(SnapshotTaken(Snapshot(5, 3, 50, 8)), node.view.now_ms)
    while compact(node, node.view.compaction_index):
        pass
    effects = node.step(Tick(), node.wake_at_ms)
    beat = next(m for m in effects.messages() if m.to == "s2")
    assert spell(beat).startswith("AppendEntries 3-3-1-[]")


def test_a_snapshot_that_is_gone_is_replaced_by_the_current_one() -> None:
    node = leader_with_snapshot()
    sent = fall_behind(node)
    later = Snapshot(5, 3, 50, 8)
    node.step(SnapshotTaken(later), node.view.now_ms)
    effects = node.step(SnapshotGone("s2", sent[0].snapshot), node.view.now_ms)
    assert [m.snapshot for m in effects.send_after_save if isinstance(m, InstallSnapshot)] == [
        later,
        later,
    ]
    assert node.step(SnapshotGone("s2", sent[0].snapshot), node.view.now_ms).send_after_save == []


def test_an_answer_beyond_the_snapshots_end_is_refused() -> None:
    node = leader_with_snapshot()
    fall_behind(node)
    with pytest.raises(PeerError, match="can't hold 26 bytes"):
        node.step(Receive(held(node, 26)), node.view.now_ms)


def test_only_the_first_report_of_a_loss_counts() -> None:
    node = leader_with_snapshot()
    fall_behind(node)
    before = node.view.round
    pieces(node, held(node, 10))
    assert [p.offset for p in pieces(node, held(node, 0, before))] == [0, 10]
    assert pieces(node, held(node, 0, before)) == []


# --- the follower's side ------------------------------------------------------------------


SENT = Snapshot(7, 2, 8, 5)


def piece(offset: int, data: str, *, snapshot: Snapshot = SENT, term: int = 2) -> InstallSnapshot:
    return InstallSnapshot("s1", "s2", term, snapshot, offset, len(data), 3, data)


def test_pieces_go_to_the_disk_in_order_and_the_snapshot_is_checked() -> None:
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


def test_a_new_snapshot_replaces_a_damaged_one() -> None:
    node = node_of("s2", *[1] * 6, options=SMALL)
    node.step(Receive(append(1, (6, 1), commit=6)), 0)
    applied(node)
    for again in (Snapshot(6, 1, 8, 5), Snapshot(6, 1, 8, 6)):
        node.step(SnapshotTaken(again), 0)
        assert node.view.snapshot == again
    node.step(SnapshotTaken(Snapshot(5, 1, 8, 6)), 0)
    assert node.view.snapshot == Snapshot(6, 1, 8, 6)


def test_a_piece_that_is_not_the_next_one_changes_nothing() -> None:
    node = node_of("s2", options=SMALL)
    node.step(Receive(piece(0, "a 4\n")), 0)
    for again in (piece(0, "a 4\n"), piece(6, "5\n")):
        effects = node.step(Receive(again), 0)
        assert effects.chunks == []
        assert [spell(answer) for answer in effects.send_after_save] == [
            "GiveSnapshotAfterByte 4 of 7-2 term 2 round 3"
        ]


def test_two_snapshots_are_never_mixed() -> None:
    node = node_of("s2", options=SMALL)
    node.step(Receive(piece(0, "a 4\n")), 0)
    other = Snapshot(7, 2, 8, 6)  # the same entry, spelled in another way
    effects = node.step(Receive(piece(4, "b 5\n", snapshot=other)), 0)
    assert effects.chunks == []
    assert spell(effects.send_after_save[0]).startswith("GiveSnapshotAfterByte 0 ")
    effects = node.step(Receive(piece(0, "c 6\n", snapshot=other)), 0)
    assert effects.chunks == [Chunk(0, b"c 6\n")]
    assert node.step(SnapshotChecked(Snapshot(7, 2, 8, 5), MEMBERS), 0).install is None


def test_a_checked_snapshot_that_arrives_anew_is_checked_again() -> None:
    node = node_of("s2", options=SMALL)
    assert node.step(Receive(piece(0, "a 4\nb 5\n")), 0).check == SENT
    # While it is checked, another leader's begins to arrive in its place, and then itself again.
    node.step(Receive(piece(0, "c 6\n", snapshot=Snapshot(9, 2, 8, 6), term=3)), 0)
    assert node.step(Receive(piece(0, "a 4\n", term=4)), 0).chunks == [Chunk(0, b"a 4\n")]
    assert node.step(SnapshotChecked(SENT, MEMBERS), 0).install is None
    assert node.step(Receive(piece(4, "b 5\n", term=4)), 0).check == SENT
    assert node.step(SnapshotChecked(SENT, MEMBERS), 0).install == SENT


def test_a_late_piece_of_an_earlier_snapshot_does_not_displace_a_later_one() -> None:
    node = node_of("s2", options=SMALL)
    node.step(Receive(piece(0, "a 4\n", snapshot=Snapshot(9, 2, 8, 5))), 0)
    effects = node.step(Receive(piece(0, "a 4\n")), 0)
    assert effects.chunks == effects.send_after_save == []
    effects = node.step(Receive(piece(0, "a 4\n", term=3)), 0)  # a new leader's counts
    assert effects.chunks == [Chunk(0, b"a 4\n")]


def test_a_snapshot_that_the_log_has_overtaken_is_not_installed() -> None:
    node = node_of("s2", *[1] * 7, term=2, options=SMALL)
    snapshot = Snapshot(5, 1, 8, 5)
    node.step(Receive(piece(0, "a 4\n", snapshot=Snapshot(8, 2, 4, 5))), 0)
    node.step(Receive(append(2, (7, 1), 2, commit=8)), 0)
    assert node.view.commit_index == 8
    assert node.step(SnapshotChecked(Snapshot(8, 2, 4, 5), MEMBERS), 0).install is None
    effects = node.step(Receive(piece(0, "a 4\n", snapshot=snapshot)), 0)
    assert spell(effects.send_after_save[0]) == "I am up to date term 2 index 5 round 3"
    assert node.view.applying == 8


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


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (piece(0, "a 4\nb 5\n", snapshot=Snapshot(2, 2, 8, 5)), "entry 2 is committed with term 1"),
        (replace(piece(0, "a 4\n"), sender="s3"), "s1 leads term 2, so s3 does not"),
    ],
)
def test_an_impossible_snapshot_is_refused_and_changes_nothing(
    message: InstallSnapshot, why: str
) -> None:
    node = node_of("s2", term=2, options=SMALL)
    node.step(Receive(append(2, (0, 0), 1, 1, 2, commit=3)), 0)
    with pytest.raises(PeerError, match=why):
        node.step(Receive(message), 0)
    assert node.view.arriving_bytes == 0
    assert node.view.leader == "s1"


def test_a_log_that_conflicts_at_the_snapshots_end_is_dropped_whole() -> None:
    node = node_of("s2", *[1] * 9, term=2, options=SMALL)
    node.step(Receive(piece(0, "a 4\nb 5\n")), 0)
    node.step(SnapshotChecked(Snapshot(7, 2, 8, 5), MEMBERS), 0)
    log = node.view.log
    assert (log.base_index, log.last_term, log.last_index) == (7, 2, 7)
    assert node.view.durable_index <= 7


def test_entries_that_follow_on_the_snapshot_stay() -> None:
    node = node_of("s2", term=2, options=SMALL)
    node.step(Receive(piece(0, "a 4\nb 5\n")), 0)
    node.step(Receive(append(2, (0, 0), *[1] * 6, 2, 2, 2, commit=3)), 0)  # while it was checked
    assert node.step(SnapshotChecked(SENT, MEMBERS), 0).install is None
    log = node.view.log
    assert (log.base_index, log.last_index, node.view.commit_index) == (0, 9, 7)


def test_the_members_are_those_of_the_snapshot_from_then_on() -> None:
    node = node_of("s2", options=SMALL)
    node.step(Receive(piece(0, "a 4\nb 5\n")), 0)
    others = {"s1": "localhost:10000", "s2": "localhost:10001", "s4": "localhost:10003"}
    effects = node.step(SnapshotChecked(SENT, all_vote(others)), 0)
    assert effects.members_changed
    assert node.view.membership.voters == ("s1", "s2", "s4")


@pytest.mark.parametrize(("terms", "is_removed"), [((1, 1), True), ((), False)])
def test_a_member_that_a_later_snapshot_lacks_was_removed(
    terms: tuple[int, ...], is_removed: bool
) -> None:
    """One without entries may be new: its own list of members names it, and it is added later."""
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


def test_a_snapshot_that_arrived_damaged_is_requested_anew() -> None:
    node = node_of("s2", options=SMALL)
    node.step(Receive(piece(0, "a 4\nb 5\n")), 0)
    said = node.step(SnapshotRejected(Snapshot(7, 2, 8, 5), "line 3: …"), 0).notes
    assert said == [
        "[!] s2 refuses the snapshot up to entry 7 that it received: line 3: …; the "
        "leader must send it again"
    ]
    effects = node.step(Receive(piece(8, "")), 0)
    assert spell(effects.send_after_save[0]).startswith("GiveSnapshotAfterByte 0 of 7-2 ")
