"""A state machine with users and a role."""

from __future__ import annotations

import io

from raftline.access.users import make_verifier
from raftline.logmanager import LogManager
from raftline.raft.log import Entry
from raftline.storage.snapshot_lines import LoadedSnapshot, SnapshotReader, format_snapshot
from raftline.wire.operands.login_operands import ITERATIONS_LEAST

from ..files.faulty_folder import MemoryFolder
from ..files.node_files import MEMBERS

VERIFIER = str(make_verifier("correct horse", ITERATIONS_LEAST))
BOB = "c.9f86d081884c7d65-5"  # his session


class UserMachine:
    """A state machine with the admin root, and the user bob who may write app/ and read all keys.
    He has begun a session by entry 5."""

    def __init__(self) -> None:
        self.manager = LogManager("s1", MemoryFolder(), MEMBERS)
        self.store = self.manager.store
        self._index = 0
        self.do(
            "cluster 9f86d081884c7d65 level 1",
            f"user-add root {VERIFIER} admin",
            "role-add app",
            "role-grant app readwrite app/",
            "c.9f86d081884c7d65@session bob",
            f"user-add bob {VERIFIER} app reader",
        )

    def do(self, *commands: str) -> list[str]:
        entries = [Entry(self._index + place, 1, each) for place, each in enumerate(commands, 1)]
        self._index += len(commands)
        return self.manager.apply(entries)

    def loaded(self) -> LoadedSnapshot:
        """Return the snapshot of this state, as a node reads it."""
        file = io.BytesIO(b"".join(format_snapshot(self.manager.freeze())))
        return SnapshotReader(file, lambda: None).read()
