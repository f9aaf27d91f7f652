"""The seam of the kernel for steps: a node's observers, and the recording of its steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from raftline.node.clock import Clock
from raftline.raft.node import RawNode

from .live.file_recorder import FileRecorder, check_path
from .live.observers import ObserverRegistry
from .recording.recorded_node import RecordedNode

__all__ = ["check_path", "observers", "recorded"]


def observers(name: str, say: Callable[[str], None], clock: Clock) -> ObserverRegistry:
    """Return the observers of a node; `say` prints a line on its console."""
    return ObserverRegistry(name, say, clock)


def recorded(node: RawNode, path: Path, say: Callable[[str], None]) -> RawNode:
    """Return the node that continues from this one and records its steps in a file."""
    return RecordedNode(node, FileRecorder(path, say))
