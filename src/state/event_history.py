"""The latest events of a node, from which an interrupted watch resumes. Pure.

The history belongs to a node, not to the replicated state: nodes that applied the same log may keep
histories of different lengths, but the events in them are the same. The history is empty when a
node starts. Replaying the log fills it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import filterfalse
from operator import attrgetter, itemgetter
from typing import NamedTuple

from ..wire.commands.watch_lines import MESSAGE
from ..wire.limits import HISTORY_BYTES, HISTORY_EVENTS
from ..wire.protocol import real
from .key_events import EventRun, KeyEvent

EVENT_BYTES = 150  # memory of one event without its key and value
SET_BYTES = 64  # memory of an event that is an entry's command, without its text
WIDE = 4  # bytes per character, at most, in a text that is not all ASCII
RUN_BYTES = 64 << 10  # nothing is added to a run of this size
TAKEN_APART = 16  # a run of up to this many sets is unpacked after events of another kind
RUNS_TOGETHER = 16  # runs that a watch reads at a time
DROPPED = 16  # entries are dropped in steps of 1/16 of the bound, or of the oldest run
_key, _value, _last = itemgetter(2), itemgetter(3), attrgetter("last")


class ResumePoint(NamedTuple):
    """Whether a watch can resume after an index."""

    is_covered: bool = False  # all events after it are here
    is_known: bool = True  # False: this node's log never held that entry


class EventHistory:
    """The events of the entries `floor + 1 … last`. Only whole entries are kept.

    `last` is the number of the last entry applied, with or without events. At a jump, the numbers
    grow by more than one, because an epoch began.
    """

    def __init__(self) -> None:
        self.floor = self.last = 0  # events up to the floor are dropped
        self.resets = 0  # how often all events were dropped
        self.bound(HISTORY_EVENTS, HISTORY_BYTES)
        self.bytes = 0  # memory of the events, estimated
        self._count = 0  # of the events
        self._runs: list[EventRun] = []
        self._sizes: list[int] = []  # the bytes of each run
        self._jumps: list[tuple[int, int]] = []  # the last number before, the first after

    def __len__(self) -> int:
        return self._count

    def bound(self, events_max: int, bytes_max: int) -> None:
        """Keep at most this many events and bytes from now on."""
        self._events_max, self._bytes_max = events_max, bytes_max

    def reset(self, last: int) -> None:
        """Drop all events: the new state came without the events up to this entry."""
        self._runs, self._sizes, self._jumps = [], [], []
        self._count = self.bytes = 0
        self.floor = self.last = last
        self.resets += 1

    def add(self, runs: Sequence[EventRun], numbers: Sequence[int]) -> None:
        """Add the events of the applied entries with these numbers."""
        if not numbers:
            return
        if numbers[-1] - self.last != len(numbers):
            self._note_jumps(numbers)
        self.last = numbers[-1]
        kept, sizes = self._runs, self._sizes
        for run in runs:
            count = len(run)
            has_room = bool(sizes) and sizes[-1] < RUN_BYTES
            if not has_room or (kept[-1].next != run.first and count >= TAKEN_APART):
                kept.append(EventRun([], run.first))
                sizes.append(0)
            elif kept[-1].next != run.first:
                run = EventRun(run.events())
                if kept[-1].first:
                    self._take_newest_apart()
            newest, size = kept[-1], _size_of(run)
            newest.bare += run.bare
            newest.sets += run.sets
            newest.next = run.next
            sizes[-1] += size
            self.bytes += size
            self._count += count
        if self._is_over():
            self._drop()

    def _note_jumps(self, numbers: Sequence[int]) -> None:
        before = self.last
        for number in numbers:
            if number != before + 1:
                self._jumps.append((before, number))
            before = number

    def _take_newest_apart(self) -> None:
        """Convert the newest run to bare events, once for each run."""
        newest = EventRun(self._runs[-1].events())
        size = _size_of(newest)
        self.bytes += size - self._sizes[-1]
        self._runs[-1], self._sizes[-1] = newest, size

    def _is_over(self) -> bool:
        return self._count > self._events_max or self.bytes > self._bytes_max

    def _drop(self) -> None:
        """Drop the oldest entries, with all their events. The last entry always stays whole."""
        runs, sizes, whole = self._runs, self._sizes, 0
        few, small = self._events_max // DROPPED, self._bytes_max // DROPPED
        while whole < len(runs) - 1 and self._is_over():
            count, size = len(runs[whole]), sizes[whole]
            too_many, too_long = self._count - self._events_max, self.bytes - self._bytes_max
            must_go = count <= too_many or size <= too_long
            if not must_go and (count > few or size > small):
                break
            self._count -= count
            self.bytes -= size
            self.floor = runs[whole].last
            whole += 1
        del runs[:whole], sizes[:whole]
        if self._is_over():
            self._shorten_oldest()
        self._jumps = [jump for jump in self._jumps if jump[1] > self.floor]

    def _shorten_oldest(self) -> None:
        """Drop the surplus entries of the oldest run. The rest of the run is copied, so more than a
        few entries are dropped at a time."""
        run, place = self._runs[0], 0
        end = len(run) if len(self._runs) > 1 else run.place_after(run.last - 1)
        while place < end and self._is_over():
            surplus = max(1, (end - place) // DROPPED, self._count - self._events_max)
            self.floor = run.number_at(min(place + surplus, end) - 1)
            after = run.place_after(self.floor)
            size = _size_of(run.part(place, after))
            self._count -= after - place
            self._sizes[0] -= size
            self.bytes -= size
            place = after
        if place < len(run):
            self._runs[0] = run.part(place, len(run))
        else:
            del self._runs[0], self._sizes[0]

    def place_of(self, number: int) -> ResumePoint:
        """Return whether a watch can resume after an entry, which is `last` or earlier."""
        for before, after in self._jumps:
            if before < number < after:
                return ResumePoint(is_known=False)
        return ResumePoint(is_covered=number >= self.floor)

    def before(self, number: int) -> int:
        """Return the number of the preceding entry."""
        for before, after in self._jumps:
            if after == number:
                return before
        return number - 1

    def after(
        self, number: int, events_max: int, bytes_max: int = HISTORY_BYTES, prefix: str = ""
    ) -> tuple[Sequence[KeyEvent], int]:
        """Return the events after an entry for keys with a prefix, and the last entry that they
        cover. Messages are only for a prefix of topics. Entries are whole, and there are about
        `events_max` events and `bytes_max` bytes, or fewer. `number` must be covered."""
        events: list[KeyEvent] = []
        upto, size = number, 0
        first, raw_prefix = bisect_right(self._runs, number, key=_last), real(prefix)
        end = first + RUNS_TOGETHER if raw_prefix else len(self._runs)
        for run in self._runs[first:end]:
            for place in self._places(run, number, raw_prefix):
                event = run.at(place)
                if event[0] != upto and (len(events) >= events_max or size > bytes_max):
                    return events, upto
                events.append(KeyEvent._make(event))
                upto = event[0]
                size += _size_of(EventRun([event]))
            upto = run.last
        return events, self.last if end >= len(self._runs) else upto

    def _places(self, run: EventRun, number: int, raw_prefix: str) -> Sequence[int]:
        """Return the places of a run's events after an entry, for keys with a prefix. Most runs
        hold no such key, and an index shows that without a scan."""
        begin = run.place_after(number)
        if not raw_prefix and run.first:
            return range(begin, len(run))
        if not raw_prefix:
            return [at for at in range(begin, len(run)) if run.bare[at][1] != MESSAGE]
        if run is self._runs[-1]:  # more events may be added to it
            places = range(begin, len(run))
            return [place for place in places if run.raw_key_at(place).startswith(raw_prefix)]
        return [place for place in run.places_under(raw_prefix) if place >= begin]


def _size_of(run: EventRun) -> int:
    """Return an estimate of the events' memory. There is an event for each write, so no Python loop
    visits them."""
    if run.first:
        wide = sum(map(len, filterfalse(str.isascii, run.sets)))
        return SET_BYTES * len(run.sets) + sum(map(len, run.sets)) + (WIDE - 1) * wide
    events = run.bare
    keys = sum(map(len, map(_key, events)))
    values = sum(map(len, map(_value, events)))
    wide = sum(map(len, filterfalse(str.isascii, map(_value, events))))
    wide += sum(map(len, filterfalse(str.isascii, map(_key, events))))
    return EVENT_BYTES * len(events) + keys + values + (WIDE - 1) * wide
