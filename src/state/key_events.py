"""The key changes that watchers get, and the messages on topics. Pure."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

from ..wire.protocol import real
from .user_table import UserTable

SET, DELETE, EXPIRE = "set", "delete", "expire"

# A KeyEvent as a bare tuple. A node keeps its latest events in this form: the garbage collector
# visits each instance of a class, but not tuples of numbers and texts.
BareEvent = tuple[int, str, str, str]


class KeyEvent(NamedTuple):
    """One change to one key. Keys and values are in their canonical form."""

    number: int  # of the entry (`entry_number`)
    kind: str
    key: str
    value: str  # the new value, "" if the key was removed


class EventRun:
    """Events in log order, as bare tuples or as commands that each set one key.

    Most entries set one key. Their commands are the log's own texts. Each command is the event of
    one entry, and the entries are consecutive. A command is parsed only for a reader, so an unread
    event needs no separate texts.
    """

    def __init__(self, bare: list[BareEvent], first: int = 0, sets: Sequence[str] = ()) -> None:
        """Hold bare events, or the commands of the entries from number `first` on."""
        self.bare = bare
        self.first = first  # 0: the events are bare
        self.sets = list(sets)
        self.next = first + len(self.sets)  # of the first run that can be appended unchanged
        self._order: Sequence[int] = ()  # places by key, once a prefix is requested

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
        """Return the event at a place."""
        if not self.first:
            return self.bare[place]
        _, key, value = self.sets[place].split(" ", 2)
        return self.first + place, SET, key, value

    def raw_key_at(self, place: int) -> str:
        """Return the unescaped key of the event at a place, without copying a value."""
        if not self.first:
            key = self.bare[place][2]
        else:
            text = self.sets[place]
            key = text[4 : text.index(" ", 4)]
        return real(key) if "\\" in key else key

    def places_under(self, raw_prefix: str) -> list[int]:
        """Return, in order, the places of the events whose keys have a prefix, which is unescaped.
        Nothing may be added to the run after this call."""
        if len(self._order) != len(self):
            self._order = array("I", sorted(range(len(self)), key=self.raw_key_at))
        begin = bisect_left(self._order, raw_prefix, key=self.raw_key_at)
        after, end = text_after(raw_prefix), len(self._order)
        if after:
            end = bisect_left(self._order, after, begin, key=self.raw_key_at)
        return sorted(self._order[begin:end])

    def number_at(self, place: int) -> int:
        """Return the entry number of the event at a place, without copying a value."""
        return self.first + place if self.first else self.bare[place][0]

    def place_after(self, number: int) -> int:
        """Return the place of the first event after the entry with this number."""
        if self.first:
            return min(max(number + 1 - self.first, 0), len(self.sets))
        return bisect_right(self.bare, number, key=itemgetter(0))

    def part(self, begin: int, end: int) -> EventRun:
        """Return the events from one place to another."""
        first = self.first and self.first + begin
        return EventRun(self.bare[begin:end], first, self.sets[begin:end])


class TakenEvents(NamedTuple):
    """The events since the last call of `take_events`, in log order."""

    runs: list[EventRun]
    lost_up_to: int  # the last entry with dropped events; 0: none
    users: Sequence[tuple[int, UserTable]] = ()  # that count after the entry with that number

    @property
    def events(self) -> list[BareEvent]:
        """All events as bare tuples."""
        return [event for run in self.runs for event in run.events()]


def text_after(prefix: str) -> str:
    """Return the first text after all texts with a prefix, or "" if there is none."""
    less = prefix.rstrip(chr(sys.maxunicode))  # no character follows this one
    return less[:-1] + chr(ord(less[-1]) + 1) if less else ""
