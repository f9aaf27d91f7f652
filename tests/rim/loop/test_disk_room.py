"""The bound of what a node takes from a member that has gone mad: no more than its disk
has room for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from raftline.node.disk_room import DiskRoom, DiskSpace
from raftline.raft.log import Entry, Snapshot
from raftline.raft.messages import AppendEntries, InstallSnapshot
from raftline.wire.limits import LOG_GROWTH, UNCOMMITTED_LOG_BYTES

GROWTH = 1000
MOST = UNCOMMITTED_LOG_BYTES + LOG_GROWTH * GROWTH


def room(log_bytes: int = 0, free: int = 1 << 30) -> DiskRoom:
    logmanager: Any = SimpleNamespace(log_bytes=log_bytes)
    return DiskRoom(logmanager, lambda: GROWTH, DiskSpace(lambda: (free, 0)))


def refusal(of: DiskRoom, message: AppendEntries | InstallSnapshot) -> str:
    (why,) = of.refusals([message])
    return why


def entries(count: int) -> AppendEntries:
    made = [Entry(number, 3, "set a 5") for number in range(1, count + 1)]
    return AppendEntries("s2", "s1", 3, 0, 0, made, 0, 1)


def piece(size: int, offset: int = 0) -> InstallSnapshot:
    return InstallSnapshot("s2", "s1", 3, Snapshot(17, 3, size, 0), offset, 10, 1)


def test_entries_are_refused_once_the_log_is_too_long() -> None:
    assert refusal(room(MOST), entries(1)) == ""
    assert refusal(room(MOST + 1), entries(1)) == (
        f"my log has {MOST + 1} bytes, and takes no entries beyond {MOST} before a snapshot"
    )


def test_a_heartbeat_is_taken_however_long_the_log_is() -> None:
    assert refusal(room(10 * MOST), entries(0)) == ""


def test_snapshot_larger_than_the_disk_is_refused_at_once() -> None:
    """Its first piece says how large the snapshot is."""
    why = refusal(room(free=1600), piece(1 << 63))
    assert why == f"my disk has 1600 bytes left, and not enough for a snapshot of {1 << 63}"
    assert refusal(room(free=1600), piece(1501)) != ""
    assert refusal(room(free=1600), piece(1500)) == ""


def test_a_snapshot_that_was_begun_is_taken_to_its_end() -> None:
    assert refusal(room(free=0), piece(1500, offset=100)) == ""


def test_the_disk_is_measured_again_only_where_it_refuses() -> None:
    """A leader measures the disk after each write; a follower does so only when space is short."""
    left, looks = [1 << 30], []

    def measure() -> tuple[int, int]:
        looks.append(left[0])
        return left[0], 1 << 40

    logmanager: Any = SimpleNamespace(log_bytes=0)
    disk = DiskSpace(measure)
    follower = DiskRoom(logmanager, lambda: GROWTH, disk)
    assert [refusal(follower, entries(1)) for _ in range(3)] == ["", "", ""]
    assert len(looks) == 1
    left[0] = 1
    disk.look()  # as after a write
    assert refusal(follower, entries(1)) == "my disk is nearly full, and takes no entries"
    assert len(looks) == 3
    left[0] = 1 << 30
    assert refusal(follower, entries(1)) == ""
    assert len(looks) == 4
