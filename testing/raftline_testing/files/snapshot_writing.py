"""A snapshot written at once, as the thread of snapshots does piece by piece."""

from __future__ import annotations

from raftline.common.wakeup import no_pause
from raftline.raft.log import Snapshot
from raftline.storage.snapshotfile import SnapshotFile
from raftline.storage.snapshotlines import MachineState


def write_snapshot(file: SnapshotFile, state: MachineState) -> Snapshot:
    """Write the state beside the snapshot in force; `publish` puts it in force."""
    writing = file.writing(state, no_pause)
    while True:
        try:
            next(writing)
        except StopIteration as end:
            snapshot: Snapshot = end.value
            return snapshot
