"""Writing NAME.log anew behind a snapshot (paper §7): one taken here, or one that arrived.

Behind one taken here it happens in two steps. Most of what follows the snapshot is copied while
the old file still grows; only for the last entries must those wait that write the log. What is
copied first is committed, so no cut can ever touch it. A death at any byte leaves the old file,
or the new one whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

from raftline.raft.effects import Entry, Snapshot
from raftline.raft.log import Log
from raftline.raft.membership import Membership
from raftline.storage.appendfile import AppendFile
from raftline.storage.errors import DiskFailed
from raftline.storage.folder import Folder
from raftline.storage.hardstate import HardStateFile
from raftline.storage.lines import base_line, note_line
from raftline.storage.logfile import LogFile, TermRuns, whole_file
from raftline.storage.snapshotfile import SnapshotFile
from raftline.storage.snapshotlines import LoadedSnapshot


class LogRewrite:
    """One rewriting of one node's log; `snapshot` is what it begins behind.

    Raises:
        DiskFailed: there is no room to begin, say; nothing of it is left.
    """

    def __init__(
        self, folder: Folder, node: str, snapshot: Snapshot, members: Membership
    ) -> None:
        self.snapshot = snapshot
        self._folder = folder
        self._name = f"{node}.log"
        self._beside = beside(node)
        self._file: AppendFile = folder.create(self._beside)
        self._runs = TermRuns(Log(snapshot.index, snapshot.term))
        self._size = 0
        base = base_line(members, snapshot.index, snapshot.term)
        try:
            self._write(base + note_line(0, crc32(base)))
        except DiskFailed:
            self.abandon()  # nobody else could: there is no rewrite yet
            raise

    @property
    def next_index(self) -> int:
        """The entry that must be copied next."""
        return self._runs.last_index + 1

    def copy(self, entries: Sequence[Entry]) -> None:
        """Add entries, which must be committed and on the disk, while the old file grows.

        Raises:
            DiskFailed: there is no room, say; the old file is as it was.
        """
        if entries:
            for entry in entries:
                self._runs.append(entry.index, entry.term)
            lines = [f"{index} {term} {command}\n" for index, term, command in entries]
            data = "".join(lines).encode()
            self._write(data + note_line(len(entries), crc32(data)))

    def sync(self) -> None:
        """Make what was copied durable, so that little is left to sync at the end."""
        self._file.sync()

    def finish(self, entries: Sequence[Entry]) -> LogFile:
        """Add the last entries and take the old file's place, durably; nobody else may write.

        Raises:
            DiskFailed: which of the two files has the name is unknown, so the node must stop.
        """
        self.copy(entries)
        self._file.sync()
        self._folder.rename(self._beside, self._name)
        return LogFile(self._file, self._runs, 0, self._size)

    def abandon(self) -> None:
        """Leave the old file in its place and remove the new one."""
        self._file.close()
        self._folder.remove(self._beside)

    def _write(self, data: bytes) -> None:
        self._file.append(data)
        self._size += len(data)


def beside(node: str) -> str:
    """Return the name that the new file has until it takes the old one's place."""
    return f"{node}.log.new"


def install(
    folder: Folder,
    node: str,
    loaded: LoadedSnapshot,
    snapshots: SnapshotFile,
    storage: HardStateFile,
    old: LogFile,
) -> LogFile:
    """Put the snapshot that arrived in force, and return the empty log behind it, which takes
    the place of `old` (Figure 13, 5-7).

    From the moment that the snapshot has its name a start discards the log by itself, so a
    death between the steps does no harm. Before, a promise of entries that go must not look
    broken: it is taken back, durably, to the beginning of the log, which either log keeps. That
    of the mark now may not be on the disk yet, and an earlier one name an entry that was cut.
    """
    snapshot, name = loaded.snapshot, f"{node}.log"
    storage.save(storage.promise._replace(mark=old.base))
    snapshots.install(loaded)
    log = Log(snapshot.index, snapshot.term)
    folder.replace(name, whole_file(loaded.members, log))
    old.close()
    return LogFile(folder.open_append(name), TermRuns(log), 0, folder.size(name))
