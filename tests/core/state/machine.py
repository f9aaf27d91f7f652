"""A state machine of one node, for tests of commands."""

from __future__ import annotations

import io
from itertools import count

from raftline.logmanager import LogManager
from raftline.raft.log import Entry
from raftline.state.commands.machines import Machines
from raftline.storage.snapshot_lines import (
    LoadedSnapshot,
    MachineState,
    SnapshotReader,
    format_snapshot,
)
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS, entries


class Machine:
    """A state machine that executes commands one after the other, as committed entries."""

    def __init__(self, machines: Machines | None = None) -> None:
        self.manager = LogManager("s1", MemoryFolder(), MEMBERS, machines)
        self._index = count(1)

    def do(self, command: str) -> str:
        return self.manager.apply([Entry(next(self._index), 1, command)])[0]


def at_entry_10(*before: str) -> LogManager:
    """Return a node whose entry 10 gave its log an identity, after these commands."""
    manager = LogManager("s1", MemoryFolder(), MEMBERS)
    manager.apply(entries(10 - len(before), 1, *before, "cluster 9f86d081884c7d65 level 1"))
    manager.store.notes_events = True
    return manager


def copied(state: MachineState) -> LoadedSnapshot:
    data = b"".join(format_snapshot(state))
    return SnapshotReader(io.BytesIO(data), lambda: None).read()
