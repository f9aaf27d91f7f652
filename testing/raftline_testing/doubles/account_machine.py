"""A state machine with two users, whose keys and leases count for them."""

from __future__ import annotations

from raftline.logmanager import LogManager
from raftline.raft.log import Entry
from raftline.state.store import sizes_of

from ..files.faulty_folder import MemoryFolder
from ..files.node_files import MEMBERS

BOB, ANN = "c.9f86d081884c7d65-2", "c.3c6e0b8a9c15224a-3"  # their sessions


class AccountMachine:
    """A state machine, with a session of bob and one of ann."""

    def __init__(self, *, is_at_floor: bool = False) -> None:
        self.manager = LogManager("s1", MemoryFolder(), MEMBERS)
        self.store = self.manager.store
        self._index = 0
        self.do("noop" if is_at_floor else "cluster 9f86d081884c7d65 level 1")
        self.do(f"{BOB.rpartition('-')[0]}@session bob")
        self.do(f"{ANN.rpartition('-')[0]}@session ann")

    def do(self, *commands: str) -> list[str]:
        entries = [Entry(self._index + place, 1, each) for place, each in enumerate(commands, 1)]
        self._index += len(commands)
        return self.manager.apply(entries)

    @property
    def held(self) -> dict[str, int]:
        """The bytes of each user; they have to be those that a new look at all pairs finds."""
        size, accounts = sizes_of(self.store.held)
        assert (size, accounts.bytes) == (self.store.pair_bytes, self.store.accounts.bytes)
        return self.store.accounts.bytes
