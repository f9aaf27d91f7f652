"""A backup fetched in pieces is the state machine's file to the byte; and the bar that shows it."""

from __future__ import annotations

import errno
import io
import json
import sys
from pathlib import Path
from zlib import crc32

import pytest

from raftline.common.wakeup import no_pause
from raftline.net import local_commands
from raftline.net.local_commands import BackupFailed, BackupFile
from raftline.raft.membership import all_vote
from raftline.storage.snapshotlines import MachineState, SnapshotReader, spell_snapshot
from raftline.tools import recover
from raftline.tools.fsck import Bar
from raftline.wire.commands import read_request
from raftline.wire.operands import Limits
from raftline.wire.protocol import ProtocolError
from tests.node_files import MEMBERS


def state(keys: int) -> MachineState:
    pairs = {f"k{number}": "é€😀" * 40 for number in range(keys)}
    return MachineState(57, 4, all_vote(MEMBERS), ['{"forgotten": false}'], pairs)


def pieces(file: BackupFile) -> bytes:
    data = b""
    while True:
        text = file.piece(len(data)).partition(f"from {len(data)} ")[2]
        piece = json.loads(text).encode("utf-8", "surrogateescape")
        if not piece:
            return data
        data += piece


def test_backup_pieces_make_up_the_file_even_if_they_cut_a_character(tmp_path: Path) -> None:
    file = BackupFile(state(3000), str(tmp_path))
    data = pieces(file)
    assert data == b"".join(spell_snapshot(state(3000)))
    assert len(data) > 3 * local_commands.PIECE_BYTES
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
    with pytest.raises(BackupFailed, match=r"No space left.*this server goes on\."):
        BackupFile(state(1), str(tmp_path))


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
    assert not recover._is_confirmed("s1")  # no terminal
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    for typed, confirmed in (("s1", True), ("yes", False), ("", False)):
        monkeypatch.setattr("builtins.input", lambda _, typed=typed: typed)
        assert recover._is_confirmed("s1") is confirmed
