"""LogManager: the key-value state machine, the lock that guards it, and the files behind it.

What a client typed is what an entry holds is what is executed here; keys and values stay in the
escaped form in which they travel, so no stored value can break a line or forge one.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from raftline.commands import execute
from raftline.raft.effects import Effects, Entry
from raftline.sessions import Sessions
from raftline.showing import read_selection, show_page
from raftline.storage.errors import DiskFailed, StorageError
from raftline.storage.folder import Folder
from raftline.storage.hardstate import HardStateFile, LogState
from raftline.storage.logfile import LogFile
from raftline.storage.recovery import Recovered, Recovery

__all__ = ["LogManager", "Recovered"]


class LogManager:
    """The state machine, its lock, and its files.

    `client_lock` guards `pairs` and `sessions`; nothing slow happens under it. The files have
    no lock here: whoever calls `recover`, `persist` and `close` does so from one thread at a time.
    """

    def __init__(self, name: str, folder: Folder, members: Mapping[str, str]) -> None:
        """Prepare a node; `members` (name -> host:port) are written into a log that is born."""
        self.name = name
        self.client_lock = threading.Lock()
        self.pairs: dict[str, str] = {}
        self.sessions = Sessions()
        self._folder = folder
        self._members = members
        self._storage: HardStateFile | None = None
        self._logfile: LogFile | None = None
        self._failed = False

    def recover(self) -> Recovered:
        """Lock the folder and read back what this node knew; nothing is executed yet.

        Raises:
            FilesRefused: in use, damaged, unreadable or not writable; one line says what to do.
        """
        recovery = Recovery(self._folder, self.name, self._members)
        try:
            recovered, self._logfile = recovery.run()
        except StorageError:
            self._folder.close()
            raise
        self._storage = recovery.storage
        return recovered

    def handle_operation(self, command: str) -> str:
        """Execute one operation and return the reply, without the server's name."""
        selection = read_selection(_without_client(command))
        if selection is None:
            with self.client_lock:
                return execute(self.pairs, _without_client(command))
        with self.client_lock:
            pairs = self.pairs.copy()
        return show_page(pairs, selection)

    def apply(self, entries: Sequence[Entry]) -> list[str]:
        """Execute committed entries in order and return their replies.

        The same entries give the same pairs and replies on every node: whatever a command
        holds, it is executed or answered with `Sorry, `, never raised about (paper §2).
        """
        execute_entry = self._execute
        with self.client_lock:
            return [execute_entry(entry.index, entry.command) for entry in entries]

    def read(self, commands: Sequence[str]) -> list[str]:
        """Return the replies to get and show commands as of one moment; nothing is logged."""
        selections = [read_selection(_without_client(command)) for command in commands]
        pairs: dict[str, str] = {}
        with self.client_lock:
            if any(selection is not None for selection in selections):
                pairs = self.pairs.copy()
            replies = [
                execute(self.pairs, _without_client(command)) if selection is None else ""
                for command, selection in zip(commands, selections, strict=True)
            ]
        for place, selection in enumerate(selections):
            if selection is not None:
                replies[place] = show_page(pairs, selection)
        return replies

    def persist(self, works: Sequence[Effects]) -> tuple[int, int] | None:
        """Make step 2 of several Effects durable, in order, with one sync of the log.

        Returns index and term of the last entry of the log now durable; None if no work
        touched the log.

        Raises:
            DiskFailed: the node must stop; nothing that waited for this may be acknowledged.
        """
        if self._failed or self._storage is None or self._logfile is None:
            raise DiskFailed(f"{self.name}: its files are closed or have failed; start it again")
        try:
            return self._persist(works, self._storage, self._logfile)
        except BaseException:  # whatever it was: how much of it is on the disk is unknown
            self._failed = True
            raise

    def close(self) -> None:
        """Let go of the files and of the lock on them."""
        if self._logfile is not None:
            self._logfile.close()
            self._logfile = None
        self._folder.close()

    def _persist(
        self, works: Sequence[Effects], storage: HardStateFile, logfile: LogFile
    ) -> tuple[int, int] | None:
        saves = [work.save for work in works if work.save is not None]
        if saves:
            term, vote = saves[-1]
            storage.save(storage.promise._replace(term=term, vote=vote))
        mark = logfile.append(works)
        if mark is not None:
            storage.move_mark(mark)
        # Last: a node that calls its log whole must already hold the entries that make it so.
        if any(work.recovered for work in works):
            storage.save(storage.promise._replace(state=LogState.WHOLE))
        return mark

    def _execute(self, index: int, command: str) -> str:
        """Execute the command of one entry, once if it carries a request's number."""
        client, at, bare = command.partition("@")
        if not at or " " in client:  # no client named: the `@` belongs to a key or value
            return execute(self.pairs, command)
        name, _, number = client.partition("#")
        if not (number.isascii() and number.isdigit()):
            if bare == "session":
                return f"SESSION response: {self.sessions.begin(name, index)}"
            return execute(self.pairs, bare)
        if bare.startswith("get "):  # changes nothing, so a retry may read what is new
            return execute(self.pairs, bare)
        reply = self.sessions.earlier_reply(name, int(number), bare)
        if reply is None:
            reply = execute(self.pairs, bare)
            self.sessions.remember(name, int(number), bare, reply)
        return reply


def _without_client(command: str) -> str:
    """Return the command without `client7#12@` before it."""
    first = command.partition(" ")[0]
    return command[first.index("@") + 1 :] if "@" in first else command
