"""Write NAME.log: one batch is one write, one checksum and one sync.

After a snapshot (paper §7), taken here or received, the log is rewritten. After a snapshot taken
here, this has two steps. Most entries after the snapshot are copied while the old file still grows.
The writer waits only for the last entries. The entries copied first are committed, so no cut can
touch them. A crash at any byte leaves either the old file or the whole new file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Final
from zlib import crc32

from ..common.text import VERY_LONG, is_printable
from ..raft.effects import Effects
from ..raft.log import Entry, Log, SafetyError, Snapshot, TermRuns, is_run
from ..raft.membership import Membership
from .disk import AppendFile, DiskFailed
from .folder import Folder
from .hard_state import HardStateFile, Mark
from .log_lines import base_line, checksum_line, cut_line, entry_lines, is_storable
from .lost_files import Identity
from .snapshot_file import SnapshotFile
from .snapshot_lines import LoadedSnapshot

_LONG_BYTES = 64 << 10  # copying this much takes longer than another write
_COMMAND: Final = itemgetter(2)  # the command of an entry
_REWRITE_BATCH_ENTRIES = 64  # 64 MiB in memory with values of 1 MiB each
_COPIED_BYTES = 256 << 10  # in memory at a time, unless one entry is longer


class LogFile:
    """The open NAME.log, after its last checksum.

    `open_crc` is the CRC-32 of the bytes after the last checksum: the base line in a log without a
    batch, otherwise no bytes.
    """

    def __init__(self, file: AppendFile, runs: TermRuns, open_crc: int, size: int) -> None:
        self._file = file
        self._open_crc = open_crc
        self._runs = runs
        self.size = size  # in bytes
        self.holds_void_lines = False  # whether a cut voided entries in the file

    @property
    def base(self) -> Mark:
        """The entry before the log's first."""
        return Mark(self._runs.base_index, self._runs.base_term)

    @property
    def last(self) -> Mark:
        """The last entry that no cut voided."""
        return Mark(self._runs.last_index, self._runs.last_term)

    def append(self, works: Sequence[Effects]) -> Mark | None:
        """Make all cuts and entries of `works`, in order, durable as one batch.

        Returns the log's new last entry, or None if `works` has no cut or entry.

        Raises:
            DiskFailed: no part of the batch may be acknowledged, and nothing more can be written.
            SafetyError: a gap in indexes, a falling term, or a command that breaks its line.
        """
        parts: list[str] = []
        entries = 0
        runs = self._runs
        for work in works:
            if work.cut_after is not None and work.cut_after < runs.last_index:
                runs.cut_after(work.cut_after)
                self.holds_void_lines = True
                parts.append(cut_line(work.cut_after).decode("ascii"))
            entries += len(work.append)
            _add(runs, work.append)
            check_storable(work.append)
            if work.append:
                parts.append(entry_lines(work.append))
        if not parts:
            return None
        data = "".join(parts).encode()
        checksum = checksum_line(entries, crc32(data, self._open_crc))
        self._open_crc = 0
        self.size += append_both(self._file, data, checksum)
        self._file.sync()
        return Mark(runs.last_index, runs.last_term)

    @property
    def identity(self) -> Identity:
        """The identity of the open file, which may have lost its name."""
        return self._file.identity

    def close(self) -> None:
        self._file.close()


def append_both(file: AppendFile, data: bytes, checksum: bytes) -> int:
    """Append a batch and its checksum, and return the number of bytes. A long batch is not copied
    to make a single write: without its checksum, it does not count.

    Raises:
        DiskFailed: see `append`.
    """
    if len(data) > _LONG_BYTES:
        file.append(data)
        file.append(checksum)
    else:
        file.append(data + checksum)
    return len(data) + len(checksum)


def _add(runs: TermRuns, entries: Sequence[Entry]) -> None:
    """Record the terms of entries before they are written.

    Raises:
        SafetyError: an index does not follow the previous index, or a term falls.
    """
    if len(entries) > 1:
        indexes, terms, _ = zip(*entries)  # noqa: B905
        if is_run(indexes, terms, runs.last_index + 1):
            runs.add(terms[0], len(terms))  # nearly always
            return
    for index, term, _ in entries:
        if index != runs.last_index + 1:
            raise SafetyError(f"asked to write entry {index} after entry {runs.last_index}")
        runs.add(term, 1)


def check_storable(entries: Sequence[Entry]) -> None:
    """Raise an error for a command that does not fit on one line.

    Each line is searched for all control characters when it arrives. So a very long command is
    searched here only for characters that end its line, or that an editor or a crash leaves in a
    file. A search for the others would take a tenth of the time of a set of 64 KiB
    (docs/develop/speed.md).

    Raises:
        SafetyError: it names the entry's index.
    """
    commands = [*map(_COMMAND, entries)]
    if max(map(len, commands), default=0) <= VERY_LONG and is_printable("".join(commands)):
        return  # nearly always
    for index, _, command in entries:
        is_long = len(command) > VERY_LONG
        if not (_keeps_its_line(command) if is_long else is_storable(command)):
            raise SafetyError(f"entry {index} holds a control character: {command!a:.80}")


def _keeps_its_line(command: str) -> bool:
    return "\n" not in command and "\r" not in command and "\0" not in command


def whole_file(members: Membership, log: Log, cluster: str = "", chain: int = 0) -> Iterator[bytes]:
    """Yield a whole NAME.log with the content of `log`, in pieces that fit in memory. `chain` is
    that of the entries before it."""
    base = base_line(members, log.base_index, log.base_term, cluster, chain)
    yield base
    crc = crc32(base)
    if log.base_index and log.last_index == log.base_index:
        yield checksum_line(0, crc)  # a rewritten log always has a checksum
    for first in range(log.base_index + 1, log.last_index + 1, _REWRITE_BATCH_ENTRIES):
        entries = log.entries(first, min(first + _REWRITE_BATCH_ENTRIES - 1, log.last_index))
        data = entry_lines(entries).encode()
        yield data + checksum_line(len(entries), crc32(data, crc))
        crc = 0


def crc_left_open(members: Membership, log: Log, cluster: str = "") -> int:
    """Return the CRC-32 of what `whole_file` writes after its last checksum: the base line of a log
    that never had an entry, otherwise nothing."""
    return 0 if log.last_index else crc32(base_line(members, cluster=cluster))


def _batches(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Divide entries into batches that are copied one by one."""
    begin = size = 0
    for end, (_, _, command) in enumerate(entries, 1):
        size += len(command)
        if size >= _COPIED_BYTES or end == len(entries):
            yield entries[begin:end]
            begin, size = end, 0


class LogRewrite:
    """One rewrite of a node's log, which then begins after `snapshot`.

    Raises:
        DiskFailed: for example, the disk is full. The new file is removed.
    """

    def __init__(
        self,
        folder: Folder,
        node: str,
        snapshot: Snapshot,
        members: Membership,
        cluster: str = "",
        chain: int = 0,
    ) -> None:
        self._folder = folder
        self._name = f"{node}.log"
        self._beside = beside(node)
        self._file: AppendFile = folder.create(self._beside)
        self._runs = TermRuns(snapshot.index, snapshot.term)
        self._size = 0
        base = base_line(members, snapshot.index, snapshot.term, cluster, chain)
        try:
            self._write(base + checksum_line(0, crc32(base)))
        except DiskFailed:
            self.abandon()  # the caller has no object to abandon yet
            raise

    @property
    def next_index(self) -> int:
        """The entry that must be copied next."""
        return self._runs.last_index + 1

    def copy(self, entries: Sequence[Entry]) -> None:
        """Add entries, which must be committed and on disk, while the old file grows.

        Raises:
            DiskFailed: for example, the disk is full. The old file is unchanged.
        """
        _add(self._runs, entries)
        for batch in _batches(entries):
            data = entry_lines(batch).encode()
            self._size += append_both(self._file, data, checksum_line(len(batch), crc32(data)))

    def sync(self) -> None:
        """Make the copied entries durable, so that little is left to sync at the end."""
        self._file.sync()

    def finish(self) -> LogFile:
        """Replace the old file, durably, with all entries synced. No other thread may write.

        Raises:
            DiskFailed: either file may now have the name, so the node must stop.
        """
        self._folder.rename(self._beside, self._name)
        self._file.put_in_force()
        return LogFile(self._file, self._runs, 0, self._size)

    def abandon(self) -> None:
        """Keep the old file and remove the new one. If the disk fails, the new file stays until the
        next start: an error here would hide the reason for giving it up."""
        self._file.close()
        with contextlib.suppress(DiskFailed):
            self._folder.remove(self._beside)

    def _write(self, data: bytes) -> None:
        self._file.append(data)
        self._size += len(data)


def beside(node: str) -> str:
    """Return the name of the new file, before it replaces the old one."""
    return f"{node}.log.new"


def install(
    folder: Folder,
    node: str,
    loaded: LoadedSnapshot,
    snapshots: SnapshotFile,
    storage: HardStateFile,
    old: LogFile,
) -> LogFile:
    """Publish the received snapshot, and return the empty log after it, which replaces `old`
    (Figure 13, 5-7).

    Once the snapshot has its name, a start discards the log, so a crash between the steps is
    harmless. Before that, the mark must not name an entry that will be discarded. So the mark is
    moved back, durably, to the beginning of the log, which both logs keep. The current mark may not
    be on disk yet, and an earlier mark may name an entry that was cut.
    """
    snapshot, name = loaded.snapshot, f"{node}.log"
    storage.save(storage.promise._replace(mark=old.base))
    snapshots.install(loaded)
    log = Log(snapshot.index, snapshot.term)
    whole = whole_file(loaded.members, log, loaded.cluster, loaded.chain)
    folder.replace(name, whole)
    old.close()
    return LogFile(folder.open_append(name), log.copy(), 0, folder.size(name))
