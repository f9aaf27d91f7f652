"""Checksums by which the members of a cluster prove that they agree. Pure.

The chain covers all applied entries, from the first entry of the log on: a CRC-32 over the text of
each entry, with the term in a line of its own before the first entry of that term. So it does not
depend on how the entries were cut into batches. The files keep the chain at their beginning, as
`sum 1ff08c67`: NAME.log in its base line, NAME.state_machine in its first line.

The sum of a state covers the lines of its snapshot. Its order is free, since two nodes may hold
the same pairs in different orders: the squares of the CRC-32 of all lines are added, modulo 2^64.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import Final
from zlib import crc32

from ..raft.log import Entry

SUM_EVERY: Final = 1024  # entries between two sums of a small state
LINES_PART: Final = 8  # a state with more lines is summed once for this many entries a line
_STEP_LINES: Final = 250
_SUM_BITS: Final = (1 << 64) - 1
_TERM: Final = itemgetter(1)  # of an entry
_COMMAND: Final = itemgetter(2)
_SUM = re.compile(rb"sum ([0-9a-f]{8})(?: |\Z)")


def format_sum(chain: int) -> str:
    """Return the chain as it comes before the members in a file, or "" for that of no entry."""
    return f"sum {chain:08x} " if chain else ""


def split_sum(text: bytes) -> tuple[int, bytes]:
    """Return the chain that comes before the members, and the members' text."""
    match = _SUM.match(text)
    return (0, text) if match is None else (int(match[1], 16), text[match.end() :])


def chained(chain: int, term: int, entries: Sequence[Entry]) -> int:
    """Return the chain after these entries, if `chain` is the one before them, and `term` is the
    term of the entry before them."""
    if not entries:
        return chain
    last_term = entries[-1][1]
    if last_term == entries[0][1]:  # nearly always: terms never fall in a log
        return _chained_run(chain, term, last_term, entries)
    for run_term, run in groupby(entries, _TERM):
        chain, term = _chained_run(chain, term, run_term, run), run_term
    return chain


def _chained_run(chain: int, term: int, run_term: int, run: Iterable[Entry]) -> int:
    head = f"{run_term}\n" if run_term != term else ""
    text = "\n".join(map(_COMMAND, run))
    return crc32(f"{head}{text}\n".encode("utf-8", "surrogatepass"), chain)


def next_sum(index: int) -> int:
    """Return the first entry after `index` at which a state may be summed."""
    return index - index % SUM_EVERY + SUM_EVERY


def is_due(index: int, lines: int) -> bool:
    """Return whether a state of this many lines is summed after entry `index`. It depends on
    nothing else, so equal states are summed at the same entries, a larger one less often."""
    every = SUM_EVERY
    while every < LINES_PART * lines:
        every *= 2
    return index % every == 0


def state_sum(lines: Iterable[str]) -> Generator[None, None, int]:
    """Return the sum of a state, in small pieces."""
    total, source = 0, iter(lines)
    while piece := list(islice(source, _STEP_LINES)):
        crcs = [crc32(line.encode("utf-8", "surrogatepass")) for line in piece]
        total = (total + sum([crc * crc for crc in crcs])) & _SUM_BITS
        yield
    return total
