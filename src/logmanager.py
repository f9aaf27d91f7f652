"""LogManager: the key-value state machine, the lock that guards it, and the files behind it.

What a client typed is what an entry holds is what is executed here; keys and values stay in the
escaped form in which they travel, so no stored value can break a line or forge one.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from raftline.commands import execute
from raftline.raft.effects import Effects, Entry, SafetyError, Snapshot
from raftline.sessions import Sessions
from raftline.showing import read_selection, show_page
from raftline.storage.errors import DiskFailed, FilesRefused, StorageError
from raftline.storage.folder import Folder
from raftline.storage.hardstate import HardStateFile, LogState, Mark
from raftline.storage.logfile import LogFile
from raftline.storage.recovery import Recovered, Recovery
from raftline.storage.rewrite import LogRewrite, install
from raftline.storage.snapshotfile import SnapshotFile
from raftline.storage.snapshotlines import LoadedSnapshot, MachineState

__all__ = ["LogManager", "Recovered"]


class LogManager:
    """The state machine, its lock, and its files.

    `client_lock` guards `pairs`, `sessions` and `applied`; nothing slow happens under it. The
    files have no lock here: whoever calls `recover`, `persist` and `close` does so from one thread
    at a time.
    """

    def __init__(self, name: str, folder: Folder, members: Mapping[str, str]) -> None:
        """Prepare a node; `members` (name -> host:port) are written into a log that is born."""
        self.name = name
        self.client_lock = threading.Lock()
        self.pairs: dict[str, str] = {}
        self.sessions = Sessions()
        self.applied = Mark(0, 0)  # the last entry that these are the result of
        self.snapshots = SnapshotFile(folder, name)
        self.replaced: dict[str, str] = {}  # pairs of before a snapshot, to be freed without haste
        self._arrived: tuple[LoadedSnapshot, Sessions] | None = None  # checked, not yet installed
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
        self.snapshots = recovery.snapshots
        self._members = recovered.members
        if recovery.loaded is not None:
            try:
                self._load(recovery.loaded, _sessions_of(recovery.loaded))
            except ValueError as error:
                self.close()
                raise FilesRefused(
                    f"{self.snapshots.name}: {error}; was it written by a newer version?"
                ) from None
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
            replies = [execute_entry(entry.index, entry.command) for entry in entries]
            if entries:
                self.applied = Mark(entries[-1].index, entries[-1].term)
            return replies

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
            return self._persist(works, self._storage)
        except BaseException:  # whatever it was: how much of it is on the disk is unknown
            self._failed = True
            raise

    def close(self) -> None:
        """Let go of the files and of the lock on them."""
        if self._logfile is not None:
            self._logfile.close()
            self._logfile = None
        self.snapshots.close()
        self._folder.close()

    # --- snapshots and compaction --------------------------------------------------------------

    @property
    def log_bytes(self) -> int:
        """How long NAME.log is."""
        return self._logfile.size if self._logfile is not None else 0

    def freeze(self) -> MachineState:
        """Return the state machine as of now; all that waits for the lock waits so long.

        Two lists, since those are copied in one go however the dict has come about: a dict from
        which many keys were deleted would be built anew, key by key.
        """
        with self.client_lock:
            # In one call, so that the interpreter lets no other thread in between, which could
            # only wait for this lock in its turn.
            keys, values = map(list, (self.pairs, self.pairs.values()))
            sessions = self.sessions.copy()
            applied, members = self.applied, self._members
        return MachineState(*applied, members, sessions.dump(), keys, values)

    def arrived(self, loaded: LoadedSnapshot) -> None:
        """Keep a snapshot that has passed its checks until `take_over` and `persist` want it.

        Raises:
            ValueError: its session lines are not understood.
        """
        self._arrived = (loaded, _sessions_of(loaded))

    def take_over(self, snapshot: Snapshot) -> None:
        """Let the state machine be what the snapshot that arrived holds. The old pairs stay in
        `replaced`, for somebody to free them without haste."""
        if self._arrived is None or self._arrived[0].snapshot != snapshot:
            raise SafetyError(f"{self.name} is to install {snapshot}, which was not checked")
        self.replaced = self._load(*self._arrived)

    def begin_rewrite(
        self, snapshot: Snapshot, members: Mapping[str, str] | None = None
    ) -> LogRewrite:
        """Begin to write the log anew, behind `snapshot`, where these are the members; None: the
        same as at the base of the log that is."""
        return LogRewrite(self._folder, self.name, snapshot, members or self._members)

    def finish_rewrite(self, rewrite: LogRewrite, rest: Sequence[Entry]) -> LogFile | None:
        """Let the new log take the old one's place, from one thread at a time as `persist`.
        Return the old one, to be closed when nobody waits: its bytes are freed by that.

        Raises:
            DiskFailed: the node must stop.
        """
        old = self._logfile
        try:
            if old is not None and old.holds_void_lines and self._storage is not None:
                # A mark is not synced: after a power cut an earlier one may be there again, of
                # an entry that only a void line holds, and those go now.
                self._storage.save(self._storage.promise)
            self._logfile = rewrite.finish(rest)
        except BaseException:
            self._failed = True
            raise
        return old

    @property
    def folder_path(self) -> str:
        """Where the files are."""
        return self._folder.path

    @property
    def last_written(self) -> int:
        """The index of the last entry in NAME.log."""
        return self._logfile.last.index if self._logfile is not None else 0

    def _load(self, loaded: LoadedSnapshot, sessions: Sessions) -> dict[str, str]:
        with self.client_lock:
            old, self.pairs = self.pairs, loaded.pairs
            self.sessions = sessions
            self.applied = Mark(*loaded.snapshot[:2])
            return old

    def _install(self, snapshot: Snapshot, storage: HardStateFile) -> None:
        old = self._logfile
        if self._arrived is None or self._arrived[0].snapshot != snapshot or old is None:
            raise SafetyError(f"{self.name} is to install {snapshot}, which was not checked")
        loaded, self._arrived = self._arrived[0], None
        self._members = loaded.members
        self._logfile = install(self._folder, self.name, loaded, self.snapshots, storage, old)

    def _persist(self, works: Sequence[Effects], storage: HardStateFile) -> tuple[int, int] | None:
        saves = [work.save for work in works if work.save is not None]
        forgot = any(work.forgot for work in works)
        recovered = any(work.recovered for work in works)
        if saves or forgot:
            term, vote = saves[-1] if saves else storage.promise[:2]
            state = LogState.AMNESIAC if forgot else storage.promise.state
            if recovered and state is LogState.NEWBORN:  # its first vote: one write for both
                state = LogState.WHOLE
            storage.save(storage.promise._replace(term=term, vote=vote, state=state))
        mark = None
        begin = 0
        for position, work in enumerate(works):
            for chunk in work.chunks:
                self.snapshots.write_chunk(chunk)
            if work.install is not None:  # what was to be written before it is void by now
                self._install(work.install, storage)
                mark, begin = Mark(*work.install[:2]), position
        if self._logfile is not None:
            mark = self._logfile.append(works[begin:]) or mark
        if mark is not None:
            storage.move_mark(mark)
        # Last: a node that calls its log whole must already hold the entries that make it so.
        if recovered and storage.promise.state is not LogState.WHOLE:
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


def _sessions_of(loaded: LoadedSnapshot) -> Sessions:
    """Return the session table of a snapshot.

    Raises:
        ValueError: a line is none of its lines.
    """
    sessions = Sessions()
    sessions.load(loaded.sessions)
    return sessions
