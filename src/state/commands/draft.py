"""A copy-on-write view of a Store, which is adopted as a whole or dropped. Pure.

A transaction acts on it. Before `adopt`, none of its changes are in the Store or go to a watcher.
So a transaction that fails leaves no trace, and a snapshot never holds half a transaction.
"""

from __future__ import annotations

from ..key_events import BareEvent
from ..pairs import Overlay
from ..store import BREATHE_KEYS, Store


class Draft:
    """The changes that one entry makes to a Store, before they are adopted. Commands act on
    `store`."""

    def __init__(self, below: Store) -> None:
        self._below = below
        self._overlay = Overlay(below.held)
        self.store = Store(self._overlay, below.level)
        self.store.below = below
        self.store.number, self.store.user = below.number, below.user
        self.store.notes_events, self.store.breathe = below.notes_events, below.breathe
        self.store.leases.granted = below.leases.granted  # no operation changes these
        self.store.leases.started = []

    def adopt(self) -> None:
        """Write the draft into the Store. Each changed key gets one event, with its new state."""
        below = self._below
        events: dict[str, BareEvent] = {}
        new = self.store.take_events()
        for event in new.events:
            events[event[2]] = event
        for place, (key, text) in enumerate(self._overlay.changes.items(), start=1):
            if place % BREATHE_KEYS == 0:
                below.breathe()
            was_there = key in below.held
            below.put_text(key, text)
            if not was_there and text is None:
                events.pop(key, None)  # the key is unchanged
        for lease in self.store.leases.started or ():
            below.leases.begin(lease)
        if new.lost_up_to:
            below.forget_events(new.lost_up_to)
        for _, kind, key, value in events.values():
            below.note(kind, key, value)
