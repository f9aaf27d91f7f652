"""A copy-on-write view of a Store, which is adopted whole or dropped. Pure.

A transaction acts on it. Before `adopt` nothing of it is in the Store or goes to a watcher; so a
transaction that can't be done leaves no trace, and a snapshot never holds half of one.
"""

from __future__ import annotations

from .events import BareEvent
from .pairs import Overlay
from .store import BREATHE_KEYS, Store


class Draft:
    """The changes of a Store by one entry, not adopted yet; commands act on `store`."""

    def __init__(self, below: Store) -> None:
        self._below = below
        self._overlay = Overlay(below.held)
        self.store = Store(self._overlay, below.level, below.since)
        self.store.below = below
        self.store.number = below.number
        self.store.notes_events, self.store.breathe = below.notes_events, below.breathe
        self.store.leases.granted = below.leases.granted  # no operation changes these
        self.store.leases.started = []

    def adopt(self) -> None:
        """Write the draft into the Store. Each key that changed has one event, with its new
        state."""
        below = self._below
        events: dict[str, BareEvent] = {}
        taken = self.store.take_events()
        for event in taken.events:
            events[event[2]] = event
        for place, (key, text) in enumerate(self._overlay.changes.items(), start=1):
            if place % BREATHE_KEYS == 0:
                below.breathe()
            was_there = key in below.held
            below.put_text(key, text)
            if not was_there and text is None:
                events.pop(key, None)  # it is unchanged
        for lease in self.store.leases.started or ():
            below.leases.begin(lease)
        if taken.lost_up_to:
            below.forget_events(taken.lost_up_to)
        for _, kind, key, value in events.values():
            below.note(kind, key, value)
