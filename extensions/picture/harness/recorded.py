"""Recordings in memory, for tests of `extensions/picture/recording/`."""

from __future__ import annotations

import io
from collections.abc import Iterator

from raftline.picture.recording.recorded_node import RecordedNode
from raftline.picture.recording.replay import ReplayResult, replay
from raftline.raft.node import RawNode


class MemoryRecorder:
    """A recorder that keeps each segment as text, and begins a new one after a number of steps."""

    def __init__(self, steps_max: int = 1 << 30) -> None:
        self.segments: list[str] = []
        self._steps_max = steps_max
        self._steps = 0

    def begin(self, state: Iterator[str]) -> None:
        self._steps = 0
        self.segments.append("".join(f"{line}\n" for line in state))

    def add(self, step: str, now_ms: int, *, may_be_last: bool) -> bool:
        self.segments[-1] += step
        self._steps += 1
        return self._steps >= self._steps_max

    def give_up(self, error: Exception) -> None:
        raise AssertionError("nothing goes wrong in memory") from error

    def replay(self) -> list[ReplayResult]:
        """Replay each segment."""
        return [replay(io.StringIO(segment, newline="\n")) for segment in self.segments]


def recorded(node: RawNode, steps_max: int = 1 << 30) -> tuple[RecordedNode, MemoryRecorder]:
    """Return a node that continues from this one, and its recording."""
    recorder = MemoryRecorder(steps_max)
    return RecordedNode(node, recorder), recorder
