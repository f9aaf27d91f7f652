"""`raftline replay`: what it prints, and its exit status."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftline import cli
from raftline.picture.live.file_recorder import FileRecorder
from raftline.picture.recording.recorded_node import RecordedNode
from raftline.raft.inputs import Propose, Stop
from raftline_testing.doubles.cores import TIMEOUT_MS, acknowledge, established, sync


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Return a recording of a leader's one write."""
    path = tmp_path / "s1.steps"
    node = RecordedNode(established("s1"), FileRecorder(path, print))
    node.step(Propose(["set a 1"]), TIMEOUT_MS)
    sync(node)
    acknowledge(node, "s2")
    node.step(Stop(), TIMEOUT_MS)
    return path


def edit(path: Path, old: bytes, new: bytes) -> None:
    text = path.read_bytes()
    assert old in text
    path.write_bytes(text.replace(old, new, 1))


def test_a_recording_replays_without_a_difference(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["replay", str(recording)]) == 0
    assert capsys.readouterr().out == "4 steps replayed, the same Effects\n"


def test_the_first_difference_is_shown(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(recording, b"apply 2 1 set a 1", b"apply 2 1 set a 9")
    assert cli.main(["replay", str(recording)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"step 3 ({recording}, line ")
    assert lines[1] == "  went in:  @200 Receive s2 I am up to date term 1 index 2 round 1"
    assert "* recorded: apply 2 1 set a 9" in lines
    assert "* came out: apply 2 1 set a 1" in lines
    assert lines[-1] == "2 steps before it had the same Effects"


def test_another_version_of_a_recording_is_named(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(recording, b"version 0", b"version 7")
    edit(recording, b"state term", b"state turn")
    assert cli.main(["replay", str(recording)]) == 3
    assert "(recorded by version 7." in capsys.readouterr().err


@pytest.mark.parametrize("text", [b"", b"1 1 set a 1\n", b"\xff\n", b"\x00" * 1000])
def test_a_file_that_is_not_a_recording_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes
) -> None:
    path = tmp_path / "file"
    path.write_bytes(text)
    assert cli.main(["replay", str(path)]) == 3
    assert capsys.readouterr().err == f"raftline: {path}: it is not a recording of a node\n"


def test_a_damaged_recording_is_reported_in_one_line(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(recording, b"@200 Synced", b"@200 S\xffnced")
    assert cli.main(["replay", str(recording)]) == 3
    complaint = capsys.readouterr().err
    assert complaint == f"raftline: {recording}: it is not valid UTF-8\n"


def test_a_file_that_is_not_there_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["replay", str(tmp_path / "none")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
