"""Writing NAME.log: one batch is one write, one note and one sync."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from zlib import crc32

from raftline.raft.effects import Effects, Entry, SafetyError
from raftline.raft.log import Log
from raftline.raft.membership import Membership
from raftline.storage.appendfile import AppendFile
from raftline.storage.hardstate import Mark
from raftline.storage.lines import base_line, cut_line, is_storable, note_line

_REWRITE_BATCH_ENTRIES = 64  # with values of 1 MiB each, still a bearable piece of memory


class TermRuns:
    """Which term each index of the file is of, as runs `(first index, term)`.

    The log in memory belongs to the consensus core, which may be ahead of the disk; this is
    what the disk needs of it: the term of the entry that a cut leaves last.
    """

    def __init__(self, log: Log) -> None:
        self.base = Mark(log.base_index, log.base_term)
        self.last_index = log.last_index
        self._starts: list[int] = []
        self._terms: list[int] = []
        index = log.last_index
        while index > log.base_index:
            self._terms.insert(0, log.term_at(index) or 0)
            index = log.first_index_of_term_at(index)
            self._starts.insert(0, index)
            index -= 1

    @property
    def last(self) -> Mark:
        """The last entry of the file that counts."""
        return Mark(self.last_index, self._terms[-1] if self._terms else self.base.term)

    def append(self, index: int, term: int) -> None:
        """Add the next entry.

        Raises:
            SafetyError: the index is not the next one, or the term falls.
        """
        last_term = self._terms[-1] if self._terms else self.base.term
        if index != self.last_index + 1 or term < last_term:
            raise SafetyError(
                f"asked to write entry {index} of term {term} behind entry {self.last_index} of "
                f"term {last_term}"
            )
        if term != last_term or not self._terms:
            self._starts.append(index)
            self._terms.append(term)
        self.last_index = index

    def extend(self, entries: Sequence[Entry]) -> None:
        """Add entries; see `append`."""
        if not entries:
            return
        indexes, terms, _ = zip(*entries)  # noqa: B905
        first, last = indexes[0], indexes[-1]
        self.append(first, terms[0])
        if indexes == tuple(range(first, last + 1)) and terms.count(terms[0]) == len(terms):
            self.last_index = last  # nearly always
        else:
            for index, term in zip(indexes[1:], terms[1:], strict=True):
                self.append(index, term)

    def cut_after(self, index: int) -> None:
        """Drop every entry behind `index`."""
        if index < self.base.index:
            raise SafetyError(f"asked to cut after {index}, before the log's base")
        keep = bisect_right(self._starts, index)
        del self._starts[keep:]
        del self._terms[keep:]
        self.last_index = index


class LogFile:
    """The open NAME.log, behind its last note.

    `open_crc` is the CRC-32 of what stands behind the last note: the base line of a log that
    has no batch yet, else nothing.
    """

    def __init__(self, file: AppendFile, runs: TermRuns, open_crc: int, size: int) -> None:
        self._file = file
        self._open_crc = open_crc
        self._runs = runs
        self.size = size  # in bytes
        self.holds_void_lines = False  # entries that a cut has voided since the file was written

    @property
    def base(self) -> Mark:
        """The entry before the first."""
        return self._runs.base

    @property
    def last(self) -> Mark:
        """The last entry that counts."""
        return self._runs.last

    def append(self, works: Sequence[Effects]) -> Mark | None:
        """Make all cuts and entries of `works`, in order, durable as one batch.

        Returns the last entry that counts afterwards; None if nothing was asked for.

        Raises:
            DiskFailed: nothing of the batch may be acknowledged; nothing more can be written.
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
            runs.extend(work.append)
            check_storable(work.append)
            parts += [f"{index} {term} {command}\n" for index, term, command in work.append]
        if not parts:
            return None
        data = "".join(parts).encode()
        data += note_line(entries, crc32(data, self._open_crc))
        self._file.append(data)
        self._open_crc = 0
        self.size += len(data)
        self._file.sync()
        return runs.last

    def close(self) -> None:
        self._file.close()


def check_storable(entries: Sequence[Entry]) -> None:
    """Refuse a command that breaks its line.

    Raises:
        SafetyError: with the entry's index.
    """
    if "".join([entry[2] for entry in entries]).isprintable():  # nearly always
        return
    for index, _, command in entries:
        if not is_storable(command):
            raise SafetyError(f"entry {index} holds a control character: {command!a:.80}")


def whole_file(members: Membership, log: Log) -> Iterator[bytes]:
    """Yield a whole NAME.log that says the same as `log`, in pieces that each fit in memory."""
    base = base_line(members, log.base_index, log.base_term)
    yield base
    crc = crc32(base)
    if log.base_index and log.last_index == log.base_index:
        yield note_line(0, crc)  # what a compaction says is never without a note
    for first in range(log.base_index + 1, log.last_index + 1, _REWRITE_BATCH_ENTRIES):
        entries = log.entries(first, min(first + _REWRITE_BATCH_ENTRIES - 1, log.last_index))
        data = "".join([f"{index} {term} {command}\n" for index, term, command in entries]).encode()
        yield data + note_line(len(entries), crc32(data, crc))
        crc = 0
