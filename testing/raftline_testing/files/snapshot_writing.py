"""A snapshot written at once, as the thread of snapshots does piece by piece."""

from __future__ import annotations

from raftline.common.process.wakeup import no_pause
from raftline.raft.log import Snapshot
from raftline.storage.snapshot_file import SnapshotFile
from raftline.storage.snapshot_lines import MachineState


def write_snapshot(file: SnapshotFile, state: MachineState) -> Snapshot:
    """Write the state beside the snapshot in force; `publish` puts it in force."""
    writing = file.writing(state, no_pause)
    while True:
        try:
            next(writing)
        except StopIteration as end:
            snapshot: Snapshot = end.value
            return snapshot
