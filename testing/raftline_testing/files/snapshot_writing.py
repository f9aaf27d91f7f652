"""A snapshot written at once, which the snapshot thread does piece by piece."""

from __future__ import annotations

from raftline.common.process.wakeup import no_pause
from raftline.raft.log import Snapshot
from raftline.storage.snapshot_file import SnapshotFile
from raftline.storage.snapshot_lines import MachineState


def write_snapshot(file: SnapshotFile, state: MachineState) -> Snapshot:
    """Write the state next to the current snapshot; `publish` makes it the current one."""
    writing = file.writing(state, no_pause)
    while True:
        try:
            next(writing)
        except StopIteration as end:
            snapshot: Snapshot = end.value
            return snapshot
