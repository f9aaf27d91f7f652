"""The number of an entry that no later one has, not even after a recovery. Pure.

It fences a lock, and makes a session's name new.

An index is that in ordinary life. But `raftline recover` and `raftline restore` go on from what is
left, so the indexes of what was lost come again. Both raise the term to an era that nobody was in;
counted together with the era, every entry that follows has a higher number than any before.
"""

from __future__ import annotations

from collections.abc import Sequence

from raftline.raft.effects import Entry

ERA_TERMS = 1_000_000  # no cluster elects so often
ERA_NUMBERS = 10**12  # more entries than can have been lost
ERA_MAX = 9_000_000  # beyond, which only a forged term is, the index alone goes on: below 2^63


def entry_number(index: int, term: int) -> int:
    """Return the number of the entry; it grows along a log, as index and term do. In the first
    era, which a cluster that is never recovered does not leave, it is the index."""
    return min(term // ERA_TERMS, ERA_MAX) * ERA_NUMBERS + index


def entry_numbers_of(entries: Sequence[Entry]) -> Sequence[int]:
    """Return the number of each of these entries, which follow on one another."""
    if not entries:
        return ()
    first, last = (entry_number(entry.index, entry.term) for entry in (entries[0], entries[-1]))
    if last - first == len(entries) - 1:  # all of one era
        return range(first, last + 1)
    return [entry_number(entry.index, entry.term) for entry in entries]


def next_era(term: int) -> int:
    """Return the first term of an era that nobody can have been in who was not far beyond `term`:
    not that of the next one, which others may have come to by one election more."""
    return (term // ERA_TERMS + 2) * ERA_TERMS
