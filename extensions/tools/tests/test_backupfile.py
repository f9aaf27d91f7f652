"""A backup fetched in pieces is the state machine's file to the byte; and the bar that shows it."""

from __future__ import annotations

import errno
import io
import json
import sys
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from raftline.common.process.wakeup import no_pause
from raftline.net import state_copies
from raftline.net.state_copies import BackupFailed, BackupFile, Backups
from raftline.raft.membership import all_vote
from raftline.storage.disk import StateRefused
from raftline.storage.snapshot_lines import MachineState, SnapshotReader, format_snapshot
from raftline.tools.node_files import recover
from raftline.tools.node_files.fsck import Bar
from raftline.wire.commands.command_table import read_request
from raftline.wire.limits import BACKUP_S, BACKUPS
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import ProtocolError
from raftline.wire.refusal import HALF_APPLIED
from raftline_testing.files.node_files import MEMBERS


def state(keys: int) -> MachineState:
    pairs = {f"k{number}": "é€😀" * 40 for number in range(keys)}
    return MachineState(57, 4, all_vote(MEMBERS), ['{"forgotten": false}'], pairs)


def all_fit() -> Backups:
    return Backups(lambda folder, size: True)


def pieces(file: BackupFile) -> bytes:
    data = b""
    while True:
        text = file.piece(len(data)).partition(f"from {len(data)} ")[2]
        piece = json.loads(text).encode("utf-8", "surrogateescape")
        if not piece:
            return data
        data += piece


def test_backup_pieces_make_up_the_file_across_characters(tmp_path: Path) -> None:
    """Backup pieces make up the file even if they cut a character."""
    file = all_fit().make(str(tmp_path), lambda: state(3000))
    data = pieces(file)
    assert data == b"".join(format_snapshot(state(3000)))
    assert len(data) > 3 * state_copies.PIECE_BYTES
    assert file.begin == f"57-4 of {len(data)} bytes crc32 {crc32(data):08x}"
    assert SnapshotReader(io.BytesIO(data), no_pause).read().snapshot.index == 57
    assert any("\\udc" in file.piece(offset) for offset in range(400, 420))
    assert list(tmp_path.iterdir()) == []  # it has no name


def test_without_room_a_backup_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(**_: object) -> io.BytesIO:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", no_room)
    with pytest.raises(BackupFailed, match=r"No space left.*this server continues\."):
        all_fit().make(str(tmp_path), lambda: state(1))


def test_a_backup_leaves_the_log_its_part_of_the_disk(tmp_path: Path) -> None:
    """It is looked at before each write, and nothing of the copy stays."""
    asked: list[tuple[str, int]] = []

    def spares(folder: str, size: int) -> bool:
        asked.append((folder, size))
        return sum(size for _, size in asked) < 100_000

    released: list[bool] = []
    frozen = state(3000)
    frozen.release = lambda pause: released.append(True)
    room = Backups(spares)
    with pytest.raises(BackupFailed, match=r"no room for a backup besides the log\. Nothing was"):
        room.make(str(tmp_path), lambda: frozen)
    assert {folder for folder, _ in asked} == {str(tmp_path)}
    assert len(asked) > 1  # some of it was written
    assert (released, room._read_s) == ([True], {})


def test_a_backup_too_many_is_refused_until_one_has_ended(tmp_path: Path) -> None:
    room = all_fit()
    files = [room.make(str(tmp_path), lambda: state(1)) for _ in range(BACKUPS)]
    with pytest.raises(BackupFailed, match=r"too many backups .* try again\."):
        room.make(str(tmp_path), lambda: state(1))
    room.end(files[0])
    room.make(str(tmp_path), lambda: state(1))


def test_a_backup_that_fails_takes_no_place(tmp_path: Path) -> None:
    def fail() -> MachineState:
        raise StateRefused(HALF_APPLIED)

    room = all_fit()
    for _ in range(BACKUPS + 1):
        with pytest.raises(StateRefused):
            room.make(str(tmp_path), fail)


@pytest.mark.parametrize("wants", ["place", "room"])
def test_a_backup_that_nobody_reads_gives_way_to_another(tmp_path: Path, wants: str) -> None:
    now_s, free = [100.0], [1 << 30]

    def spares(_: str, size: int) -> bool:
        return size <= free[0] or room._read_s.get(left, 0.0) == 0.0

    left: Any = None
    room = Backups(spares, lambda: now_s[0])
    left, *others = [room.make(str(tmp_path), lambda: state(1)) for _ in range(BACKUPS)]
    now_s[0] += BACKUP_S - 1
    for file in others:
        room.touch(file)
    if wants == "room":
        room.end(others.pop())
        free[0] = 0
    with pytest.raises(BackupFailed):
        room.make(str(tmp_path), lambda: state(1))
    now_s[0] += 1
    room.make(str(tmp_path), lambda: state(1))
    assert [len(pieces(file)) > 0 for file in others] == [True] * len(others)
    with pytest.raises(ValueError, match="closed"):
        left.piece(0)


def test_the_two_forms_of_backup_are_read() -> None:
    for text in ("backup", "backup from 0", "backup from 262144"):
        assert read_request("client4", "", text, Limits()).command == text
    for text in ("backup 5", "backup from -1", "backup from 01", "backup to 5", "backup from"):
        with pytest.raises(ProtocolError, match="the form is: backup, then backup from BYTE"):
            read_request("client4", "", text, Limits())


def test_the_progress_bar_is_shown_only_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    position = [0]
    bar = Bar("s1: checking", 200, lambda: position[0])
    assert bar.line() == f"s1: checking [{'.' * 30}]   0%"
    position[0] = 100
    assert bar.line() == f"s1: checking [{'#' * 15}{'.' * 15}]  50%"
    position[0] = 900
    assert bar.line().endswith("100%")
    with bar:
        pass
    assert capsys.readouterr().err == ""


def test_recover_accepts_only_the_nodes_name_as_a_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("s1\n"))
    is_confirmed = recover._is_confirmed
    assert not is_confirmed("s1")  # no terminal
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    for typed, confirmed in (("s1", True), ("yes", False), ("", False)):
        monkeypatch.setattr("builtins.input", lambda _, typed=typed: typed)
        assert is_confirmed("s1") is confirmed
