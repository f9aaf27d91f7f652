"""LogManager: the key-value state machine, the lock that guards it, and the files behind it.

What a client typed is what an entry holds is what is executed here; keys and values stay in the
escaped form in which they travel, so no stored value can break a line or forge one.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, MutableMapping, Sequence

from raftline.common.wakeup import give_way
from raftline.raft.effects import Effects, SafetyError
from raftline.raft.entries import Entry, Snapshot
from raftline.raft.membership import PREFIX, Membership, all_vote, read
from raftline.state.commands import execute, is_read
from raftline.state.machines import Machines
from raftline.state.pairs import Breathe, StillPairs, free, layered, read_selection, show_page
from raftline.state.sessions import Sessions, entry_numbers_of
from raftline.storage.disk import DiskFailed, FilesRefused, StorageError
from raftline.storage.folder import Folder
from raftline.storage.hardstate import HardStateFile, LogState, Mark
from raftline.storage.logfile import LogFile, LogRewrite, install
from raftline.storage.recovery import Recovered, Recovery
from raftline.storage.snapshotfile import SnapshotFile, no_pause
from raftline.storage.snapshotlines import LoadedSnapshot, MachineState

__all__ = ["LogManager", "Recovered"]


class LogManager:
    """The state machine, its lock, and its files.

    `client_lock` guards `pairs`, `sessions`, `members` and `applied`; nothing slow happens under
    it. The
    files have no lock here: whoever calls `recover`, `persist` and `close` does so from one thread
    at a time.
    """

    def __init__(
        self,
        name: str,
        folder: Folder,
        members: Mapping[str, str],
        machines: Machines | None = None,
    ) -> None:
        """Prepare a node; `members` (name -> host:port) are written into a log that is born."""
        self.name = name
        self.client_lock = threading.Lock()
        self.pairs: MutableMapping[str, str] = {}
        self.sessions = Sessions()
        self.machines = machines or Machines()
        self.members: Membership = all_vote(members)  # as of the last entry applied
        self.applied = Mark(0, 0)  # the last entry that these are the result of
        self.snapshots = SnapshotFile(folder, name)
        self._replaced: MutableMapping[str, str] = {}  # pairs of before a snapshot came
        self._arrived: tuple[LoadedSnapshot, Sessions] | None = None  # checked, not yet installed
        self._folder = folder
        self._storage: HardStateFile | None = None
        self._logfile: LogFile | None = None
        self._unmarked: Mark | None = None  # on disk, and not yet said in NAME.storage
        self._failed = False

    def recover(self, *, never_ran: bool = False) -> Recovered:
        """Lock the folder and read back what this node knew; nothing is executed yet.

        `never_ran`: an operator's word that nothing ran under this name before these files.

        Raises:
            FilesRefused: in use, damaged, unreadable or not writable, or the files deny the
                operator's word; one line says what to do.
        """
        recovery = Recovery(self._folder, self.name, self.members, never_ran=never_ran)
        try:
            recovered, self._logfile = recovery.run()
        except StorageError:
            self._folder.close()
            raise
        self._storage = recovery.storage
        self.snapshots = recovery.snapshots
        self.members = recovered.members
        if recovery.loaded is not None:
            try:
                self._load(recovery.loaded, Sessions.load(recovery.loaded.sessions))
            except ValueError as error:
                self.close()
                raise FilesRefused(
                    f"{self.snapshots.name}: {error}; was it written by a newer version?"
                ) from None
        return recovered

    def handle_operation(self, command: str) -> str:
        """Execute one operation and return the reply, without the server's name."""
        if read_selection(_without_client(command)) is None:
            with self.client_lock:
                return execute(self.pairs, _without_client(command))
        return self.read([command])[0]

    def apply(self, entries: Sequence[Entry]) -> list[str]:
        """Execute committed entries in order and return their replies.

        The same entries give the same pairs and replies on every node: whatever a command
        holds, it is executed or answered with `Sorry, `, never raised about (paper §2).
        """
        execute_entry = self._execute
        with self.client_lock:
            numbered = zip(entry_numbers_of(entries), entries, strict=True)
            replies = [execute_entry(number, entry.command) for number, entry in numbered]
            if entries:
                self.applied = Mark(entries[-1].index, entries[-1].term)
            return replies

    def read(self, commands: Sequence[str], breathe: Breathe = give_way) -> list[str]:
        """Return the replies to get and show commands as of one moment; nothing is logged."""
        selections = [read_selection(_without_client(command)) for command in commands]
        still: StillPairs | None = None
        with self.client_lock:
            replies = [
                execute(self.pairs, _without_client(command)) if selection is None else ""
                for command, selection in zip(commands, selections, strict=True)
            ]
            if any(selection is not None for selection in selections):
                still = self._hold()
        if still is not None:
            try:
                for place, selection in enumerate(selections):
                    if selection is not None:
                        replies[place] = show_page(still, selection, breathe)
            finally:
                self._let_go(still, breathe)
        return replies

    def persist(self, works: Sequence[Effects]) -> tuple[int, int] | None:
        """Do `write`, and then `note_mark`."""
        durable = self.write(works)
        self.note_mark()
        return durable

    def write(self, works: Sequence[Effects]) -> tuple[int, int] | None:
        """Make step 2 of several Effects durable, in order, with one sync of the log.

        Returns index and term of the last entry of the log now durable; None if no work
        touched the log.

        Raises:
            DiskFailed: the node must stop; nothing that waited for this may be acknowledged.
        """
        if self._failed or self._storage is None or self._logfile is None:
            raise DiskFailed(f"{self.name}: its files are closed or have failed; start it again")
        try:
            return self._write(works, self._storage)
        except BaseException:  # whatever it was: how much of it is on the disk is unknown
            self._failed = True
            raise

    def note_mark(self) -> None:
        """Note in NAME.storage how far the log is on disk; from the thread that calls `persist`.

        Apart from that, so that whoever waits for the write needn't wait for this: the mark tells
        a log that was cut or deleted, and one that lags by a write tells that as well.

        Raises:
            DiskFailed: the node must stop.
        """
        mark, self._unmarked = self._unmarked, None
        if mark is not None and self._storage is not None and not self._failed:
            try:
                self._storage.move_mark(mark)
            except BaseException:
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
        """Return the state machine as of now, to be read at leisure and then released.

        Nothing is copied here, and nobody waits: the pairs stand still (state/pairs.py), and a
        session is copied when it changes.
        """
        with self.client_lock:
            still, sessions = self._hold(), self.sessions.dump()
            applied, members = self.applied, self.members
        return MachineState(
            *applied, members, sessions, still, lambda breathe: self._let_go(still, breathe)
        )

    def arrived(self, loaded: LoadedSnapshot, breathe: Breathe = no_pause) -> None:
        """Keep a snapshot that has passed its checks until `take_over` and `persist` want it.

        Raises:
            ValueError: its session lines are not understood.
        """
        self._arrived = (loaded, Sessions.load(loaded.sessions, breathe))

    def take_over(self, snapshot: Snapshot) -> None:
        """Let the state machine be what the snapshot that arrived holds; `free_replaced` frees
        what it was, without haste."""
        if self._arrived is None or self._arrived[0].snapshot != snapshot:
            raise SafetyError(f"{self.name} is to install {snapshot}, which was not checked")
        self._replaced = self._load(*self._arrived)

    def free_replaced(self, breathe: Breathe) -> None:
        """Free the pairs of before the snapshot that was taken over."""
        old, self._replaced = self._replaced, {}
        free(old, breathe)

    def begin_rewrite(self, snapshot: Snapshot) -> LogRewrite:
        """Begin to write the log anew, behind `snapshot`, the one in force. Where another arrives
        meanwhile, what is written here never comes in force (Compaction.finish_rewrite)."""
        return LogRewrite(self._folder, self.name, snapshot, self.snapshots.members)

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
        """The path of the folder."""
        return self._folder.path

    @property
    def last_written(self) -> int:
        """The index of the last entry in NAME.log."""
        return self._logfile.last.index if self._logfile is not None else 0

    def _load(self, loaded: LoadedSnapshot, sessions: Sessions) -> MutableMapping[str, str]:
        with self.client_lock:
            old, self.pairs = self.pairs, loaded.pairs
            self.sessions, self.members = sessions, loaded.members
            self.applied = Mark(*loaded.snapshot[:2])
            return old

    def _install(self, snapshot: Snapshot, storage: HardStateFile) -> None:
        old = self._logfile
        if self._arrived is None or self._arrived[0].snapshot != snapshot or old is None:
            raise SafetyError(f"{self.name} is to install {snapshot}, which was not checked")
        loaded, self._arrived = self._arrived[0], None
        self._logfile = install(self._folder, self.name, loaded, self.snapshots, storage, old)

    def _write(self, works: Sequence[Effects], storage: HardStateFile) -> tuple[int, int] | None:
        saves = [work.save for work in works if work.save is not None]
        forgot = any(work.forgot for work in works)
        recovered = any(work.recovered for work in works)
        mark = None
        born = storage.promise.state is LogState.NEWBORN
        if forgot and born and self._logfile is not None and self._logfile.last.index:
            # What a person wrote goes before the flag: behind it, it would be entries of a cluster.
            mark = self._logfile.append([Effects(cut_after=0)])
        if saves or forgot or (recovered and born):
            promise = storage.promise._replace(**saves[-1]._asdict()) if saves else storage.promise
            state = storage.promise.state
            if forgot:
                state = LogState.UNKNOWN if state is LogState.NEWBORN else LogState.RECOVERING
            if recovered and state is LogState.NEWBORN:  # its first vote: one write for both
                state = LogState.WHOLE
            storage.save(promise._replace(state=state))
        begin = 0
        for position, work in enumerate(works):
            for chunk in work.chunks:
                self.snapshots.write_chunk(chunk)
            if work.install is not None:  # what was to be written before it is void by now
                self._install(work.install, storage)
                mark, begin = Mark(*work.install[:2]), position
        if self._logfile is not None:
            mark = self._logfile.append(works[begin:]) or mark
        self._unmarked = mark or self._unmarked
        # Last: a node that calls its log whole must already hold the entries that make it so.
        if recovered and storage.promise.state is not LogState.WHOLE:
            storage.save(storage.promise._replace(state=LogState.WHOLE))
        return mark

    def _hold(self) -> StillPairs:
        """Let the pairs stand still for a reader; whoever calls holds `client_lock`."""
        self.pairs = above = layered(self.pairs)
        return above.hold()

    def _let_go(self, still: StillPairs, breathe: Breathe) -> None:
        """Take note that somebody has read the pairs; the last one makes them a plain dict again,
        bit by bit."""
        above = still.layered
        with self.client_lock:
            above.let_go()
        while True:
            with self.client_lock:
                if not above.move_down():
                    if self.pairs is above and not above.readers:
                        self.pairs = above.base
                    return
            breathe()

    def _execute(self, entry_number: int, command: str) -> str:
        """Execute the command of one entry, once if it carries a request's number."""
        client, at, bare = command.partition("@")
        if not at or " " in client:  # no client named: the `@` belongs to a key or value
            if command.startswith(PREFIX):
                # What was applied is committed, so this configuration is never rolled back; a
                # snapshot of the state carries it (§7).
                self.members = read(command) or self.members
            return self._do(entry_number, command)
        name, _, number = client.partition("#")
        if not (number.isascii() and number.isdigit() and len(number) < 20):  # int() has a limit
            if bare == "session":
                return f"SESSION response: {self.sessions.begin(name, entry_number)}"
            return self._do(entry_number, bare)
        if is_read(bare):
            return execute(self.pairs, bare)
        reply = self.sessions.earlier_reply(name, int(number), bare)
        if reply is None:
            reply = self._do(entry_number, bare)
            self.sessions.remember(name, int(number), bare, reply)
        return reply

    def _do(self, entry_number: int, bare: str) -> str:
        if bare.startswith("machine "):
            return self.machines.execute(self.pairs, bare[8:])
        return execute(self.pairs, bare, entry_number)


def _without_client(command: str) -> str:
    """Return the command without `client7#12@` before it."""
    first = command.partition(" ")[0]
    return command[first.index("@") + 1 :] if "@" in first else command
