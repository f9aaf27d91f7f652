"""The file of a recording: segments, what it must not replace, and a disk that fails."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from raftline.common.config import ConfigError
from raftline.picture.live.file_recorder import (
    GATHER_CHARACTERS,
    GATHER_MS,
    FileRecorder,
    check_path,
)
from raftline.picture.recording.recorded_node import HEADER, RecordedNode
from raftline.picture.recording.replay import replay
from raftline.raft.inputs import Compact, Propose, Stop, Tick
from raftline.raft.log import SafetyError
from raftline_testing.doubles.cores import TIMEOUT_MS, acknowledge, established, sync


def write(node: RecordedNode, times: int) -> None:
    """Take three steps that number of times, and one that has all of them written."""
    for number in range(times):
        node.step(Propose([f"set é {number}"]), TIMEOUT_MS)
        sync(node)
        acknowledge(node, "s2")
    node.step(Stop(), TIMEOUT_MS)


def recorded(path: Path, said: list[str], segment_bytes: int = 1 << 20) -> RecordedNode:
    recorder = FileRecorder(path, said.append)
    recorder.segment_bytes = segment_bytes
    return RecordedNode(established("s1"), recorder)


def steps_of(path: Path) -> int:
    """Replay a file; return its steps."""
    header, _, text = path.read_text(encoding="utf-8").partition("\n")
    assert header.startswith(HEADER)
    outcome = replay(io.StringIO(text))
    assert outcome.difference is None
    return outcome.steps


@pytest.mark.pure
def test_a_recording_is_for_its_owner_alone_and_holds_every_step(tmp_path: Path) -> None:
    path, said = tmp_path / "s1.steps", list[str]()
    write(recorded(path, said), 5)
    assert steps_of(path) == 16
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["s1.steps"]
    assert said == []


@pytest.mark.pure
def test_recorded_steps_are_written_together_in_bounded_time(tmp_path: Path) -> None:
    """Recorded steps are written together within a bounded time."""
    path = tmp_path / "s1.steps"
    node = recorded(path, [])
    found = []
    for after_ms in (0, 1, GATHER_MS - 1, GATHER_MS, GATHER_MS + 1):
        node.step(Tick(), TIMEOUT_MS + after_ms)
        found.append(steps_of(path))
    assert found == [1, 1, 1, 4, 4]
    node.step(Propose(["x" * GATHER_CHARACTERS]), TIMEOUT_MS + GATHER_MS + 2)
    assert steps_of(path) == 6


@pytest.mark.pure
def test_steps_are_written_at_once_when_an_invariant_breaks(tmp_path: Path) -> None:
    path = tmp_path / "s1.steps"
    node = recorded(path, [])
    for _ in range(2):
        with pytest.raises(SafetyError):
            node.step(Compact(9), TIMEOUT_MS)
    assert steps_of(path) == 2


@pytest.mark.pure
def test_old_segments_are_dropped_and_each_replays_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "s1.steps"
    node = recorded(path, [], 20_000)
    for _ in range(40):
        write(node, 10)
        found = sorted(tmp_path.iterdir())
        assert len(found) <= 2
        assert all(each.stat().st_size < 40_000 for each in found)
    older = tmp_path / "s1.steps.1"
    assert steps_of(older) > 20
    assert steps_of(path) + steps_of(older) < 1200
    with (tmp_path / "s1.steps").open("rb") as file:
        assert b'{"Leading": {"' in file.read()


@pytest.mark.pure
def test_a_segment_is_as_long_as_its_state_at_least(tmp_path: Path) -> None:
    """Else a large log in memory would be written again at each step."""
    path = tmp_path / "s1.steps"
    node = recorded(path, [], 1)
    write(node, 40)
    assert steps_of(path) + steps_of(tmp_path / "s1.steps.1") > 4


@pytest.mark.pure
def test_a_start_keeps_the_recording_of_the_previous_start(tmp_path: Path) -> None:
    path = tmp_path / "s1.steps"
    write(recorded(path, []), 3)
    write(recorded(path, []), 1)
    assert (steps_of(tmp_path / "s1.steps.1"), steps_of(path)) == (10, 4)


@pytest.mark.parametrize("name", ["s1.steps", "s1.steps.1", "s1.steps.new"])
def test_no_other_file_is_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("1 1 set a 1\n")
    said: list[str] = []
    with pytest.raises(ConfigError, match="is not a recording"):
        check_path(tmp_path / "s1.steps")
    node = recorded(tmp_path / "s1.steps", said)
    write(node, 1)
    assert len(said) == 1
    assert (tmp_path / name).read_text() == "1 1 set a 1\n"


def test_a_recording_into_a_nodes_file_folder_or_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("s1.log", "s2.storage", "s1.state_machine", "pipe", "folder", "none/steps"):
        with pytest.raises(ConfigError):
            check_path(tmp_path / name)
    with pytest.raises(ConfigError, match="names no file"):
        check_path(Path(""))
    check_path(tmp_path / "steps")


@pytest.mark.pure
def test_a_disk_that_fails_ends_the_recording_and_not_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, said = tmp_path / "s1.steps", list[str]()
    node = recorded(path, said)
    write(node, 2)
    real, left = os.write, [100]

    def full(descriptor: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        done = real(descriptor, data[: left[0]])
        left[0] -= done
        return done

    monkeypatch.setattr(os, "write", full)
    write(node, 2)
    assert node.view.commit_index == 5
    assert len(said) == 1
    assert said[0].startswith(f"[!] Recording into {path} ends here, the node continues: ")
    assert 7 <= steps_of(path) < 14
