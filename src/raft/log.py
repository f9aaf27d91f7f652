"""The log in memory: entries, and the snapshot that replaces the first of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import count, repeat
from typing import Generic, NamedTuple, TypeVar

Version = TypeVar("Version")


class SafetyError(Exception):
    """A violated Raft invariant in this server. It must stop, since none of its state can be
    trusted."""


class Entry(NamedTuple):
    """One line of the log: `index term command`. Indexes begin at 1, terms at 1."""

    index: int  # type: ignore[assignment]  # the field's word; tuple.index is not used
    term: int
    command: str


class Snapshot(NamedTuple):
    """The identity of a snapshot: the state after entry `index` of `term` (paper §7).

    `size` is the size of its file in bytes, `crc` the CRC-32 of the file. Two servers may serialize
    one state in two ways, and a transfer must not mix the two files.
    """

    index: int  # type: ignore[assignment]  # tuple.index is not used
    term: int
    size: int
    crc: int


def entries_of(first: int, term: int, commands: Sequence[str]) -> list[Entry]:
    """Return entries from index `first` on, all of one term.

    The result equals `Entry(…)` for each command, but is built in C: the calls took a third of a
    busy leader's time.
    """
    if len(commands) == 1:
        return [Entry(first, term, commands[0])]
    return list(map(tuple.__new__, repeat(Entry), zip(count(first), repeat(term), commands)))


def is_run(indexes: Sequence[int], terms: Sequence[int], first: int) -> bool:
    """Whether entries follow one another from index `first` on, all of one term."""
    in_order = tuple(range(first, first + len(indexes)))
    return indexes == in_order and terms.count(terms[0]) == len(terms)


class Versions(Generic[Version]):
    """Values that entries of the log change, by the index of each such entry. The first value is
    the value at the log's base."""

    def __init__(self, base_index: int, base: Version) -> None:
        self._indexes = [base_index]
        self._known = [base]
        self.latest = base  # in the log, applied or not

    @property
    def index(self) -> int:
        """The index of the entry that set the latest version."""
        return self._indexes[-1]

    def at(self, index: int) -> Version:
        """Return the version in force at `index`."""
        return self._known[max(bisect_right(self._indexes, index) - 1, 0)]

    def add(self, index: int, version: Version) -> None:
        """Record the version that the entry at `index` sets."""
        self._indexes.append(index)
        self._known.append(version)
        self.latest = version

    def cut_after(self, index: int) -> None:
        """Forget the versions of entries after `index`, which were rolled back (paper §6)."""
        keep = max(bisect_right(self._indexes, index), 1)
        del self._indexes[keep:]
        del self._known[keep:]
        self.latest = self._known[-1]

    def compact(self, index: int) -> None:
        """Make `index` the base, since a snapshot replaces the entries up to there (paper §7)."""
        first = max(bisect_right(self._indexes, index) - 1, 0)
        del self._indexes[:first]
        del self._known[:first]


class TermRuns:
    """The terms of a log, which only grow along it, as runs `(first index, term)`.

    Index 0 is "before the log", with term 0 (paper, Figure 2: first index is 1).
    """

    def __init__(self, base_index: int = 0, base_term: int = 0) -> None:
        self.base_index = self.last_index = base_index
        self.base_term = base_term
        self._run_starts: list[int] = []
        self._run_terms: list[int] = []

    def copy(self) -> TermRuns:
        """Return an independent copy of the terms, without commands."""
        runs = TermRuns(self.base_index, self.base_term)
        runs.last_index = self.last_index
        runs._run_starts, runs._run_terms = self._run_starts.copy(), self._run_terms.copy()
        return runs

    @property
    def last_term(self) -> int:
        return self._run_terms[-1] if self._run_terms else self.base_term

    def term_at(self, index: int) -> int | None:
        """Return the term of the entry at `index`; None if this log has no such entry."""
        if index > self.last_index or index < self.base_index:
            return None
        if index == self.base_index:
            return self.base_term
        if index >= self._run_starts[-1]:  # nearly always
            return self._run_terms[-1]
        return self._run_terms[bisect_right(self._run_starts, index) - 1]

    def last_runs(self, count: int) -> list[tuple[int, int]]:
        """Return the last `count` runs of equal terms, each with its first index and its term. If
        fewer exist, the log's base precedes them as a run of its own."""
        starts, terms = self._run_starts[-count:], self._run_terms[-count:]
        runs = list(zip(starts, terms, strict=True))
        return runs if len(runs) == count else [(self.base_index, self.base_term), *runs]

    def first_index_of_term_at(self, index: int) -> int:
        """Return the first index in the run of equal terms that holds `index`."""
        return self._run_starts[bisect_right(self._run_starts, index) - 1]

    def add(self, term: int, count: int) -> None:
        """Add `count` entries of one term at the end.

        Raises:
            SafetyError: the term is lower than the last entry's; terms never fall along a log.
        """
        if not self._run_terms or self._run_terms[-1] != term:
            if term < self.last_term:
                raise SafetyError(f"entry {self.last_index + 1} of term {term} after a later term")
            self._run_starts.append(self.last_index + 1)
            self._run_terms.append(term)
        self.last_index += count

    def cut_after(self, index: int) -> None:
        """Drop every entry after `index`."""
        if index < self.base_index:
            raise SafetyError(f"cut after {index}, before the log's base {self.base_index}")
        keep = bisect_right(self._run_starts, index)
        del self._run_starts[keep:]
        del self._run_terms[keep:]
        self.last_index = min(index, self.last_index)

    def accepts(self, last_index: int, last_term: int) -> bool:
        """Whether a log with this last entry is at least as up to date (paper §5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)


class Log(TermRuns):
    """Entries `base_index + 1 … last_index`, each `(index, term, command)`.

    All commands are in one list, so a million entries cost a million strings and a handful of
    pairs.
    """

    def __init__(self, base_index: int = 0, base_term: int = 0) -> None:
        super().__init__(base_index, base_term)
        self.commands: list[str] = []

    def append(self, term: int, command: str) -> None:
        """Add one entry at the end; see `add`."""
        self.add(term, 1)
        self.commands.append(command)

    def extend(self, term: int, commands: Sequence[str]) -> None:
        """Add entries of one term at the end; see `add`."""
        if commands:
            self.add(term, len(commands))
            self.commands.extend(commands)

    def cut_after(self, index: int) -> None:
        """Drop every entry after `index`."""
        super().cut_after(index)
        del self.commands[index - self.base_index :]

    def compact(self, index: int) -> None:
        """Drop every entry up to `index`, which becomes the base: a snapshot holds them (§7)."""
        term = self.term_at(index)
        if term is None:
            raise SafetyError(f"compact up to {index}, but the log has no such entry")
        del self.commands[: index - self.base_index]
        self.base_index, self.base_term = index, term
        drop = bisect_right(self._run_starts, index + 1) - 1
        if not self.commands:
            drop = len(self._run_starts)
        del self._run_starts[:drop]
        del self._run_terms[:drop]
        if self._run_starts:
            self._run_starts[0] = max(self._run_starts[0], index + 1)

    def reset(self, index: int, term: int) -> None:
        """Empty the log, and continue after the last entry of a snapshot."""
        Log.__init__(self, index, term)

    def entries(self, first: int, last: int) -> list[Entry]:
        """Return the entries `first … last`, both included; they must exist."""
        if first > last:
            return []
        if first <= self.base_index or last > self.last_index:
            raise SafetyError(f"the log has no entries {first}-{last}")
        entries = []
        run = bisect_right(self._run_starts, first) - 1
        index = first
        while index <= last:
            run_last = last
            if run + 1 < len(self._run_starts):
                run_last = min(last, self._run_starts[run + 1] - 1)
            term = self._run_terms[run]
            offset = self.base_index + 1
            commands = self.commands[index - offset : run_last + 1 - offset]
            entries += entries_of(index, term, commands)
            index = run_last + 1
            run += 1
        return entries
