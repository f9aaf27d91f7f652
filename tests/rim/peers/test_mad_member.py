"""A member that has gone mad with the right secret, at a whole node with its threads and files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raftline.common.address import Address
from raftline.common.config import FILE_NAME, PACES, Configuration
from raftline.common.process.console import Console
from raftline.net.state_copies import BackupFailed
from raftline.node import disk_room
from raftline.node.program.node_server import Server
from raftline.node.program.startup import Startup
from raftline.raft.log import Entry, Snapshot
from raftline.raft.messages import AppendEntries, InstallSnapshot
from raftline.wire.commands.parsing import ReadSettings
from raftline.wire.limits import LOG_GROWTH
from raftline_testing.nodes.processes import eventually

BOUND = 1 << 20  # of what no snapshot makes shorter
COMPACT = 64 << 10
VALUE = "x" * 10_000
EACH = 20  # entries of a message
LEAP = 2**48 - 1


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A node of three; nobody else is there but who speaks in the name of s2."""
    monkeypatch.setattr(disk_room, "UNCOMMITTED_LOG_BYTES", BOUND)
    members = {f"s{number}": Address("localhost", number) for number in (1, 2, 3)}
    startup = Startup("s1", Configuration(tmp_path / FILE_NAME, members), print, never_ran=True)
    console = Console(io.StringIO(), verbose=False)
    node = Server(startup, PACES["human"], console, readings=ReadSettings(), compact_bytes=COMPACT)
    node.recover()
    listener: Any = SimpleNamespace(give_up_late=lambda before_ms: None)
    node.listener = listener
    node.start()
    yield node
    node.halt(5.0)


def entries(first: int, term: int) -> AppendEntries:
    made = [Entry(index, term, f"set a {VALUE}") for index in range(first, first + EACH)]
    before = first - 1
    return AppendEntries("s2", "s1", term, before, term if before else 0, made, 0, 1)


def heartbeat(term: int) -> AppendEntries:
    return AppendEntries("s2", "s1", term, 0, 0, [], 0, 1)


def test_entries_without_end_fill_no_disk(node: Server, tmp_path: Path) -> None:
    log, last, refused = tmp_path / "s1.log", 0, ""
    most = BOUND + LOG_GROWTH * COMPACT
    while not refused:
        assert log.stat().st_size <= most + 2 * EACH * len(VALUE)
        (refused,) = node.hear([entries(last + 1, 5)], None) or [""]
        if not refused:
            last += EACH
            assert eventually(lambda last=last: node.logmanager.last_written >= last)
    assert refused.endswith(f"takes no entries beyond {most} before a snapshot")
    assert node.hear([heartbeat(5)], None) == []
    assert node.node.view.leader == "s2"


def test_a_snapshot_without_end_fills_no_disk(node: Server, tmp_path: Path) -> None:
    before = {path.name for path in tmp_path.iterdir()}
    for _ in range(3):
        whole = Snapshot(17, 5, 1 << 62, 0)
        piece = InstallSnapshot("s2", "s1", 5, whole, 0, len(VALUE), 1, VALUE)
        (refused,) = node.hear([piece], None)
        assert refused.endswith(f"and not enough for a snapshot of {1 << 62}")
    assert {path.name for path in tmp_path.iterdir()} == before


def test_leaps_of_terms_do_not_put_a_node_out_of_its_cluster(node: Server) -> None:
    assert (
        node.hear([AppendEntries("s3", "s1", 1, 0, 0, [Entry(1, 1, "set a 5")], 1, 1)], None) == []
    )
    assert node.hear([heartbeat(1 + LEAP)], None) == []
    for more in (LEAP, 2**20, 2):
        (refused,) = node.hear([heartbeat(1 + LEAP + more)], None)
        assert "is too far ahead of mine" in refused
    sound = AppendEntries("s3", "s1", 2 + LEAP, 1, 1, [], 1, 1)  # the others follow, by one leap
    assert node.hear([sound], None) == []
    assert (node.node.view.term, node.node.view.leader) == (2 + LEAP, "s3")


def test_backups_of_a_node_leave_its_log_room(
    node: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    logmanager = node.logmanager
    node.backups.make(logmanager.folder_path, logmanager.freeze)
    full = SimpleNamespace(total=16 * BOUND, free=BOUND)
    monkeypatch.setattr(disk_room.shutil, "disk_usage", lambda folder: full)
    with pytest.raises(BackupFailed, match="the disk has no room for a backup besides the log"):
        node.backups.make(logmanager.folder_path, logmanager.freeze)
