"""Read NAME.log in one pass, and judge lines that do not fit.

A batch counts if its checksum is good. The bytes after the last good checksum are one of two
things:

* a torn tail: the single batch that was being written when the node died. It was never
  acknowledged and is cut off. It must not hold a promised entry (see the mark in hard_state.py), or
  a second batch, since a batch is only begun when the previous batch is synced;
* corruption: something acknowledged is damaged. The node refuses to start, and names the line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import BinaryIO
from zlib import crc32

from ..raft.identity import ClusterIdentity
from ..raft.log import Log
from ..raft.membership import Membership
from .disk import BuildRefused, CorruptLog
from .folder import Folder, opened
from .hard_state import Mark
from .log_lines import (
    CHECKSUM,
    CUT_PREFIX,
    LINE_BYTES_MAX,
    NOT_UTF_8,
    chain_in_base,
    checksum_line,
    cluster_in_base,
    entry_index,
    is_cut,
    read_base,
    read_cut,
    read_entry,
)
from .snapshot_lines import LoadedSnapshot

TOGETHER = 1000  # lines of entries that are read at once, at most
_HASH = ord("#")


@dataclass
class LogRead:
    """The contents of a log file."""

    members: Membership
    log: Log
    good_bytes: int  # up to the end of the last good checksum
    before_bytes: int = 0  # up to the end of the previous good checksum, or of the base line
    torn_bytes: int = 0  # after the good bytes; never acknowledged
    void_lines: bool = False  # a cut voided some lines
    holds_mark: bool = False  # the promised entry was read, even if a later cut voided it
    cluster: str = ""  # the identity at the base
    chain: int = 0  # of the entries up to the base
    open_crc: int = 0  # CRC-32 of the good bytes without a checksum: the base line
    identity: ClusterIdentity = field(init=False)  # in the log, and what its entries need

    def begin_after(self, loaded: LoadedSnapshot) -> None:
        """Make the log in memory begin after a snapshot.

        Entries up to there are skipped. After a crash between the two steps of taking or installing
        a snapshot, the log ends before that entry, or has another entry there. Then the whole log
        is void (paper, Figure 13, 7).
        """
        snapshot, log = loaded.snapshot, self.log
        self.members, self.cluster, self.chain = loaded.members, loaded.cluster, loaded.chain
        if log.term_at(snapshot.index) == snapshot.term:
            log.compact(snapshot.index)
        else:
            log.reset(snapshot.index, snapshot.term)
            self.identity = ClusterIdentity(snapshot.index, loaded.cluster)
            self.void_lines = True


class _DamageError(Exception):
    """A line does not fit. `raw` is empty if the file ends too early; `read` are the lines after
    it that were read."""

    def __init__(self, problem: ValueError | str, raw: bytes, read: Sequence[bytes] = ()) -> None:
        super().__init__(NOT_UTF_8 if isinstance(problem, UnicodeDecodeError) else str(problem))
        self.raw, self.read = raw, read


class _UncoveredLines:
    """The lines since the last good checksum. They count once their own checksum is read."""

    __slots__ = (
        "commands", "crc", "cut_after", "cuts", "entries", "holds_mark", "last_index",
        "last_term", "promised", "runs",
    )  # fmt: skip

    def __init__(self, log: Log, crc: int, promised: Mark) -> None:
        self.promised = promised
        self.last_index = log.last_index
        self.last_term = log.last_term
        self.crc = crc
        self.cut_after: int | None = None  # the last earlier entry that stays
        self.cuts = 0
        self.entries = 0
        self.holds_mark = False
        self.commands: list[str] = []  # of the current run
        self.runs = [(self.last_term, self.commands)]  # entries of one term each

    def take(self, lines: Sequence[bytes], after: bytes) -> None:
        """Take the lines of entries; `after` is the line that was read after them.

        Raises:
            _DamageError: a line is wrong.
        """
        if self._take_plain(lines):
            return
        for place, raw in enumerate(lines):
            try:
                term, command = read_entry(raw, self.last_index + 1, self.last_term)
            except ValueError as error:
                raise _DamageError(error, raw, [*lines[place + 1 :], after]) from None
            if term != self.last_term:
                self.last_term = term
                self.commands = []
                self.runs.append((term, self.commands))
            self._add([command], raw)

    def _take_plain(self, lines: Sequence[bytes]) -> bool:
        """Take lines with the next indexes, the same term and only printable characters, as nearly
        all entries have. If one of them is not like that, take none, and return False."""
        data, first, term = b"".join(lines), self.last_index + 1, self.last_term
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return False
        begin = len(f"{first} {term} ")
        commands = [line[begin:] for line in text.split("\n")]
        if not term or commands.pop() or not "".join(commands).isprintable():
            return False
        again = [f"{index} {term} {command}\n" for index, command in enumerate(commands, first)]
        if "".join(again) != text:
            return False
        self._add(commands, data)
        return True

    def _add(self, commands: Sequence[str], data: bytes) -> None:
        """Add entries of the last term; `data` are their lines."""
        self.commands += commands
        self.entries += len(commands)
        self.crc = crc32(data, self.crc)
        before, self.last_index = self.last_index, self.last_index + len(commands)
        if before < self.promised.index <= self.last_index:
            self.holds_mark |= self.last_term == self.promised.term

    def cut(self, index: int, log: Log) -> None:
        """Remove the entries after `index`, from this batch or from the earlier log."""
        surplus = self.last_index - index
        while surplus and self.runs:
            commands = self.runs[-1][1]
            dropped = min(surplus, len(commands))
            del commands[len(commands) - dropped :]
            surplus -= dropped
            if not commands:
                self.runs.pop()
        if surplus:
            self.cut_after = index
        if not self.runs:
            self.runs.append((log.term_at(index) or 0, []))
        self.cuts += 1
        self.last_index = index
        self.last_term, self.commands = self.runs[-1]


class LogReader:
    """Reads one log file. Call `read` once.

    `promised` is the entry that NAME.storage calls synced. Only the log and one batch are held in
    memory.
    """

    def __init__(self, folder: Folder, name: str, promised: Mark, covered: int = 0) -> None:
        """Prepare to read. The snapshot covers every entry up to `covered`, so a promised entry up
        to there need not be in the log."""
        self._covered = covered
        self._folder = folder
        self._name = name
        self._promised = promised
        self._lines_taken = 0

    def read(self) -> LogRead:
        """Return the content of the file.

        Raises:
            FilesRefused: the file cannot be read.
            CorruptLog: it fails its checks in a part that was acknowledged.
        """
        size = self._folder.size(self._name)
        with opened(self._folder, self._name) as file:
            lines = iter(partial(file.readline, LINE_BYTES_MAX), b"")
            contents = self._read_base(next(lines, b""))
            self._read_batches(file, lines, contents)
        log = contents.log
        contents.identity = ClusterIdentity(log.base_index, contents.cluster, log.commands)
        contents.torn_bytes = size - contents.good_bytes
        return contents

    def _read_base(self, raw: bytes) -> LogRead:
        try:
            index, term, members = read_base(raw)
        except BuildRefused as error:
            raise BuildRefused(f"{self._name}: {error}") from None
        except ValueError as error:
            raise self._corrupt(str(error), 1, 0, None) from None
        self._lines_taken = 1
        return LogRead(
            members,
            Log(index, term),
            len(raw),
            holds_mark=self._promised.index <= self._covered,
            cluster=cluster_in_base(raw),
            chain=chain_in_base(raw),
            open_crc=crc32(raw),
        )

    def _read_batches(self, file: BinaryIO, lines: Iterator[bytes], contents: LogRead) -> None:
        log = contents.log
        while True:
            batch = _UncoveredLines(log, contents.open_crc, self._promised)
            try:
                if not self._read_batch(lines, batch, log):
                    return
            except _DamageError as damage:
                line = self._lines_taken + batch.entries + batch.cuts + 1
                byte = file.tell() - sum(map(len, [damage.raw, *damage.read]))
                if not self._is_torn_tail(damage, batch, contents, lines):
                    raise self._corrupt(str(damage), line, byte, contents) from None
                return
            if batch.cut_after is not None:
                log.cut_after(batch.cut_after)
            for term, commands in batch.runs:
                log.extend(term, commands)
            self._lines_taken += batch.entries + batch.cuts + 1
            contents.before_bytes, contents.good_bytes = contents.good_bytes, file.tell()
            contents.open_crc = 0
            contents.void_lines |= batch.cuts > 0
            contents.holds_mark |= batch.holds_mark

    def _read_batch(self, lines: Iterator[bytes], batch: _UncoveredLines, log: Log) -> bool:
        """Fill `batch` up to its good checksum. Return False if the file ends before its first
        line.

        Raises:
            _DamageError: a line does not fit, or the file ends within the batch.
        """
        has_begun = False
        while True:
            entries, other = _next_lines(lines)
            if entries:
                batch.take(entries, other)
            if other.startswith(CUT_PREFIX):
                try:
                    batch.cut(read_cut(other, log.base_index, batch.last_index), log)
                except ValueError as error:
                    raise _DamageError(error, other) from None
                batch.crc = crc32(other, batch.crc)
            elif other == checksum_line(batch.entries, batch.crc):
                return True
            elif other:
                raise _DamageError("a checksum that does not match the lines above it", other)
            elif not entries:
                if has_begun:
                    raise _DamageError("the file ends within a batch", b"")
                return False
            has_begun = True

    def _is_torn_tail(
        self,
        damage: _DamageError,
        batch: _UncoveredLines,
        contents: LogRead,
        lines: Iterator[bytes],
    ) -> bool:
        """Return whether the bytes after the last good checksum are one batch that was never
        acknowledged."""
        checksums = entries = 0
        ends_with_checksum = False
        highest, count = batch.last_index, batch.entries
        for raw in chain(filter(None, [damage.raw, *damage.read]), lines):
            checksum = CHECKSUM.fullmatch(raw)
            ends_with_checksum = checksum is not None
            if checksum is None:
                highest = max(highest, entry_index(raw))
                count += raw.endswith(b"\n") and not is_cut(raw)
            else:
                checksums += 1
                entries = int(checksum[1])
        # If the previous checksum was lost, this one closes more entries, or lines, than it counts:
        # a line that was torn is zeros, which end no line.
        is_one_batch = checksums == 0 or (
            checksums == 1
            and ends_with_checksum
            and highest <= contents.log.last_index + entries
            and count <= entries
        )
        return contents.holds_mark and is_one_batch

    def _corrupt(self, what: str, line: int, byte: int, contents: LogRead | None) -> CorruptLog:
        return CorruptLog(
            self._name,
            f"line {line} (byte {byte}): {what}",
            contents.good_bytes if contents is not None else 0,
            contents.log.last_index if contents is not None else 0,
        )


def _next_lines(lines: Iterator[bytes]) -> tuple[list[bytes], bytes]:
    """Return lines of entries, and the line that ended them: b"" if there are more or the file
    ends. A line without a line end, which may be a long hole, is the last one."""
    entries: list[bytes] = []
    for raw in lines:
        if raw[0] == _HASH:
            return entries, raw
        entries.append(raw)
        if len(entries) == TOGETHER or not raw.endswith(b"\n"):
            break
    return entries, b""
