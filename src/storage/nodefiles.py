"""The open files of one node: the writes of several steps are durable as one batch."""

from __future__ import annotations

from collections.abc import Sequence

from raftline.common.derived import mypyc_attr
from raftline.raft.effects import Effects, SafetyError
from raftline.raft.entries import Entry, Snapshot
from raftline.raft.levels import FIRST
from raftline.raft.membership import Membership
from raftline.storage.disk import DiskFailed, StorageError
from raftline.storage.folder import Folder
from raftline.storage.hardstate import HardStateFile, LogState, Mark
from raftline.storage.logfile import LogFile, LogRewrite, install
from raftline.storage.recovery import Recovered, Recovery
from raftline.storage.snapshotfile import SnapshotFile
from raftline.storage.snapshotlines import LoadedSnapshot


@mypyc_attr(allow_interpreted_subclasses=True)
class NodeFiles:
    """NAME.log, NAME.storage and NAME.state_machine in a folder; one thread at a time writes."""

    def __init__(self, name: str, folder: Folder) -> None:
        self.name = name
        self.snapshots = SnapshotFile(folder, name)
        self.arrived_snapshot: LoadedSnapshot | None = None  # checked, not installed yet
        self._folder = folder
        self._storage: HardStateFile | None = None
        self._logfile: LogFile | None = None
        self._unmarked: Mark | None = None  # on disk, and not yet in NAME.storage
        self._failed = False

    def open(
        self, members: Membership, *, never_ran: bool
    ) -> tuple[Recovered, LoadedSnapshot | None]:
        """Lock the folder, and read the node's state and its snapshot.

        Raises:
            FilesRefused: see `LogManager.recover`.
        """
        recovery = Recovery(self._folder, self.name, members, never_ran=never_ran)
        try:
            recovered, self._logfile = recovery.run()
        except StorageError:
            self._folder.close()
            raise
        self._storage, self.snapshots = recovery.storage, recovery.snapshots
        return recovered, recovery.loaded

    def close(self) -> None:
        """Close the files, and release the lock."""
        if self._logfile is not None:
            self._logfile.close()
            self._logfile = None
        self.snapshots.close()
        self._folder.close()

    @property
    def log_bytes(self) -> int:
        """The bytes of NAME.log."""
        log = self._logfile  # read once: `close` may be under way in another thread
        return log.size if log is not None else 0

    @property
    def folder_path(self) -> str:
        """The path of the folder."""
        return self._folder.path

    @property
    def last_written(self) -> int:
        """The index of the last entry in NAME.log."""
        return self._logfile.last.index if self._logfile is not None else 0

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
            return self._write(works, self._storage, self._logfile)
        except BaseException:  # the written part is unknown
            self._failed = True
            raise

    def note_mark(self) -> None:
        """Write to NAME.storage how far the log is synced; from the thread that calls `persist`.

        It is separate, so that a write need not wait for it. The mark reveals a log that was cut
        or deleted, even if the mark is one write old.

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

    def begin_rewrite(self, snapshot: Snapshot) -> LogRewrite:
        """Begin to write the log again, after `snapshot`, the one in force. If another arrives
        meanwhile, this file is never used (Compaction.finish_rewrite)."""
        members, level = self.snapshots.members, self.snapshots.level
        return LogRewrite(self._folder, self.name, snapshot, members, level)

    def finish_rewrite(self, rewrite: LogRewrite, rest: Sequence[Entry]) -> LogFile | None:
        """Replace the old log by the new one, from one thread at a time as `persist`. Return the
        old one. Close it while no write waits, as that frees its bytes.

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

    def checked(self, snapshot: Snapshot) -> LoadedSnapshot:
        """Return the snapshot that arrived and passed its checks.

        Raises:
            SafetyError: another snapshot arrived.
        """
        loaded = self.arrived_snapshot
        if loaded is None or loaded.snapshot != snapshot:
            raise SafetyError(f"{self.name} is to install {snapshot}, which was not checked")
        return loaded

    def _write(
        self, works: Sequence[Effects], storage: HardStateFile, log: LogFile
    ) -> tuple[int, int] | None:
        saves = [work.save for work in works if work.save is not None]
        forgot = any(work.forgot for work in works)
        recovered = any(work.recovered for work in works)
        mark = None
        born = storage.promise.state is LogState.NEWBORN
        if forgot and born and log.last.index:
            # What a person wrote goes before the flag: after it, it would be entries of a cluster.
            mark = log.append([Effects(cut_after=0)])
        level = max([work.level for work in works if work.level is not None], default=FIRST)
        if level > storage.promise.level:
            storage.save(storage.promise._replace(level=level))
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
            if work.install is not None:  # earlier entries of this batch are void then
                loaded, self.arrived_snapshot = self.checked(work.install), None
                log = install(self._folder, self.name, loaded, self.snapshots, storage, log)
                self._logfile = log
                mark, begin = Mark(*work.install[:2]), position
        mark = log.append(works[begin:]) or mark
        self._unmarked = mark or self._unmarked
        # Last: a node that calls its log whole must already hold the entries that make it so.
        if recovered and storage.promise.state is not LogState.WHOLE:
            storage.save(storage.promise._replace(state=LogState.WHOLE))
        return mark
