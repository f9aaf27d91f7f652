"""The changes of keys, as watchers get them. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

from ..wire.protocol import real
from .keyindex import text_after

SET, DELETE, EXPIRE = "set", "delete", "expire"


# A KeyEvent as a bare tuple. A node keeps its latest ones so: the garbage collector looks at each
# instance of a class, and at no tuple of numbers and texts.
BareEvent = tuple[int, str, str, str]


class KeyEvent(NamedTuple):
    """One change of one key; keys and values are in their canonical spelling."""

    number: int  # the entry's (`entry_number`)
    kind: str
    key: str
    value: str  # the new value, "" if the key is gone


class EventRun:
    """Events in the order of the log, as bare tuples, or as commands that each set one key.

    Most entries do. Their commands are the log's own texts, and each is the event of one entry;
    the entries follow on one another. They are taken apart for a reader, so what nobody reads
    takes no texts of its own.
    """

    def __init__(self, bare: list[BareEvent], first: int = 0, sets: Sequence[str] = ()) -> None:
        """Hold bare events; or the commands of entries from number `first` on."""
        self.bare = bare
        self.first = first  # 0: they are bare
        self.sets = list(sets)
        self.next = first + len(self.sets)  # the first of the run that can be added as it is
        self._order: Sequence[int] = ()  # the places by key, once somebody has asked for a prefix

    def __len__(self) -> int:
        return len(self.sets) or len(self.bare)

    @property
    def last(self) -> int:
        """The number of the entry of the last event."""
        return self.next - 1 if self.first else self.bare[-1][0]

    def events(self) -> list[BareEvent]:
        """Return the events as bare tuples."""
        if not self.first:
            return self.bare.copy()
        return [self.at(place) for place in range(len(self.sets))]

    def at(self, place: int) -> BareEvent:
        """Return the event at this place."""
        if not self.first:
            return self.bare[place]
        _, key, value = self.sets[place].split(" ", 2)
        return self.first + place, SET, key, value

    def raw_key_at(self, place: int) -> str:
        """Return the key of the event at this place, unescaped, without a copy of a value."""
        if not self.first:
            key = self.bare[place][2]
        else:
            text = self.sets[place]
            key = text[4 : text.index(" ", 4)]
        return real(key) if "\\" in key else key

    def places_under(self, raw_prefix: str) -> list[int]:
        """Return the places of the events of keys with a prefix, which is given unescaped, in
        order. Nothing may be added to this run any more."""
        if len(self._order) != len(self):
            self._order = array("I", sorted(range(len(self)), key=self.raw_key_at))
        begin = bisect_left(self._order, raw_prefix, key=self.raw_key_at)
        after, end = text_after(raw_prefix), len(self._order)
        if after:
            end = bisect_left(self._order, after, begin, key=self.raw_key_at)
        return sorted(self._order[begin:end])

    def number_at(self, place: int) -> int:
        """Return the number of the entry of the event at this place, without a copy of a value."""
        return self.first + place if self.first else self.bare[place][0]

    def place_after(self, number: int) -> int:
        """Return the place of the first event of an entry after this one."""
        if self.first:
            return min(max(number + 1 - self.first, 0), len(self.sets))
        return bisect_right(self.bare, number, key=itemgetter(0))

    def part(self, begin: int, end: int) -> EventRun:
        """Return the events from one place to another."""
        first = self.first and self.first + begin
        return EventRun(self.bare[begin:end], first, self.sets[begin:end])


class TakenEvents(NamedTuple):
    """The events since they were taken last, in the order of the log."""

    runs: list[EventRun]
    lost_up_to: int  # the last entry with dropped events, 0: none

    @property
    def events(self) -> list[BareEvent]:
        """All of them, one by one."""
        return [event for run in self.runs for event in run.events()]
