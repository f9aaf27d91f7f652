"""The latest events of a node, from which an interrupted watch resumes. Pure.

The history belongs to a node, not to the state that is replicated: nodes that applied the same log
keep different lengths of it, and what they keep is the same. It is empty when a node starts, and
the entries of the log that are applied again fill it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, filterfalse
from operator import itemgetter
from typing import NamedTuple

from raftline.state.events import BareEvent, KeyEvent
from raftline.wire.limits import HISTORY_BYTES, HISTORY_EVENTS

EVENT_BYTES = 150  # memory of one event without its key and value
WIDE = 4  # bytes of each character, if one of them is not ASCII: at the most
TRIMMED = 4096  # dropped events at the front of the list until it is trimmed
DROPPED = 16  # without room the oldest sixteenth of the events is dropped
_GONE: BareEvent = (0, "", "", "")  # in the place of one that is dropped: it may have a megabyte
_number, _key, _value = itemgetter(0), itemgetter(2), itemgetter(3)


class ResumePoint(NamedTuple):
    """Whether a watch can resume after an index."""

    is_covered: bool = False  # all events after it are here
    is_known: bool = True  # False: this node's log never held that entry


class EventHistory:
    """The events of the entries `floor + 1 … last`, whole entries only.

    `last` is the number of the last entry applied, with or without events. A jump is a place where
    the numbers go up by more than one, as an era began.
    """

    def __init__(self) -> None:
        self.floor = self.last = 0  # the events up to the floor are gone
        self.resets = 0  # times that all events were dropped
        self.bound(HISTORY_EVENTS, HISTORY_BYTES)
        self.bytes = 0  # memory of the events, estimated
        self._events: list[BareEvent] = []
        self._start = 0  # events before it in the list are dropped
        self._jumps: list[tuple[int, int]] = []  # the last number before, the first one after

    def __len__(self) -> int:
        return len(self._events) - self._start

    def bound(self, events_max: int, bytes_max: int) -> None:
        """Keep at most this many events and bytes from now on."""
        self._events_max, self._bytes_max = events_max, bytes_max

    def reset(self, last: int) -> None:
        """Drop all: the state came without the events up to this entry."""
        self._events, self._start, self.bytes, self._jumps = [], 0, 0, []
        self.floor = self.last = last
        self.resets += 1

    def begin_after(self, number: int) -> None:
        """Record that the entries up to this one have no events: the cluster was at level 1."""
        self.floor = max(self.floor, number)

    def add(self, events: Sequence[BareEvent], numbers: Sequence[int]) -> None:
        """Add the events of the entries with these numbers, which were applied."""
        if not numbers:
            return
        if numbers[-1] - self.last != len(numbers):
            before = self.last
            for number in numbers:
                if number != before + 1:
                    self._jumps.append((before, number))
                before = number
        self.last = numbers[-1]
        if events:
            self._events += events
            self.bytes += _bytes_of(events)
            count = len(self._events) - self._start
            if count > self._events_max or self.bytes > self._bytes_max:
                self._drop()

    def _drop(self) -> None:
        """Drop the oldest entries, all events of each. The last entry always stays whole."""
        events, start = self._events, self._start
        last_entry = bisect_left(events, events[-1][0], start, key=_number)
        while start < last_entry:
            count = len(events) - start
            if count <= self._events_max and self.bytes <= self._bytes_max:
                break
            surplus = max(1, count // DROPPED, count - self._events_max)
            self.floor = events[min(start + surplus, last_entry) - 1][0]
            end = bisect_right(events, self.floor, start, key=_number)
            self.bytes -= _bytes_of(events[start:end])
            start = end
        events[self._start : start] = [_GONE] * (start - self._start)
        self._start = start
        self._jumps = [jump for jump in self._jumps if jump[1] > self.floor]
        if start >= min(TRIMMED, self._events_max):
            del events[:start]
            self._start = 0

    def place_of(self, number: int) -> ResumePoint:
        """Return whether a watch can resume after this entry, which is `last` or earlier."""
        for before, after in self._jumps:
            if before < number < after:
                return ResumePoint(is_known=False)
        return ResumePoint(is_covered=number >= self.floor)

    def before(self, number: int) -> int:
        """Return the number of the entry before this one."""
        for before, after in self._jumps:
            if after == number:
                return before
        return number - 1

    def after(
        self, number: int, events_max: int, bytes_max: int = HISTORY_BYTES
    ) -> tuple[Sequence[KeyEvent], int]:
        """Return the events of the entries after this one, and the entry up to which they go:
        whole entries, and about that many events and bytes. `number` is covered."""
        events = self._events
        begin = bisect_right(events, number, self._start, key=_number)
        end = begin + events_max
        if _bytes_of(events[begin:end]) > bytes_max:
            sizes = list(accumulate([_bytes_of([event]) for event in events[begin:end]]))
            end = begin + bisect_right(sizes, bytes_max) + 1
        upto = self.last
        if end < len(events):
            upto = events[end - 1][0]
            end = bisect_right(events, upto, end, key=_number)
        return list(map(KeyEvent._make, events[begin:end])), upto


def _bytes_of(events: Sequence[BareEvent]) -> int:
    """Return the memory of events, estimated. There is one for each write, so no loop of Python
    goes over them."""
    keys = sum(map(len, map(_key, events)))
    values = sum(map(len, map(_value, events)))
    wide = sum(map(len, filterfalse(str.isascii, map(_value, events))))
    return EVENT_BYTES * len(events) + keys + values + (WIDE - 1) * wide
