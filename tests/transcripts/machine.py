"""The state machine of a server in a transcript: raftline's own, sessions and all."""

from __future__ import annotations

from raftline.logmanager import LogManager
from raftline.raft.entries import Entry
from raftline.raft.membership import read
from raftline.state.sessions import Sessions
from tests.faulty_folder import MemoryFolder

_SESSION = ('{"', '["')  # how a line of the session table begins, and no key of a transcript


class Machine:
    """The effect of the entries, spelled as a snapshot and made from one."""

    def __init__(self, snapshot: str = "") -> None:
        self._manager = LogManager("s1", MemoryFolder(), {})
        lines = [line for line in snapshot.splitlines() if read(line) is None]
        table = [line for line in lines if line.startswith(_SESSION)]
        pairs = [line.partition(" ") for line in lines if not line.startswith(_SESSION)]
        self._manager.sessions = Sessions.load(table)
        self._manager.pairs = {key: value for key, _, value in pairs}

    def apply(self, entry: Entry) -> str:
        """Execute one committed entry and return the reply."""
        return self._manager.apply([entry])[0]

    def read(self, key: str) -> str:
        """Return the reply to a get."""
        return self._manager.read([f"get {key}"])[0]

    def spell(self) -> str:
        """Return what a snapshot holds; of the session table nothing, while there is none."""
        lines = [f"{key} {value}\n" for key, value in self._manager.pairs.items()]
        if len(self._manager.sessions):
            lines += [f"{line}\n" for line in self._manager.sessions.dump()]
        return "".join(lines)
