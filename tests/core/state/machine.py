"""A state machine of one node, for tests of commands."""

from __future__ import annotations

from itertools import count

from raftline.logmanager import LogManager
from raftline.raft.log import Entry
from raftline.state.commands.machines import Machines
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS


class Machine:
    """A state machine that executes commands one after the other, as committed entries."""

    def __init__(self, machines: Machines | None = None) -> None:
        self.manager = LogManager("s1", MemoryFolder(), MEMBERS, machines)
        self._index = count(1)

    def do(self, command: str) -> str:
        return self.manager.apply([Entry(next(self._index), 1, command)])[0]
