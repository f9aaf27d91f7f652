"""The events of each simulated node, and a watcher that takes them now here, now there.

All nodes must tell the same events of one entry. What the watcher was sent, from whichever nodes,
must make the state that a node has.
"""

from __future__ import annotations

from collections.abc import Sequence

from raftline.logmanager import LogManager
from raftline.raft.entries import Entry
from raftline.state.events import BareEvent
from raftline.state.history import EventHistory
from raftline.state.sessions import entry_number, entry_numbers_of
from raftline.wire.keyfacts import value_of
from tests.virtual.world import World

EVENTS_MAX = 60  # that a node keeps: few, so that a watch also begins anew
STEPS = 5  # of all nodes, between two moves of the watcher


class Watching:
    """The watcher of one world, and the events that any node has sent."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._told: dict[int, list[BareEvent]] = {}
        self._pairs: dict[str, str] = {}  # of the watcher
        self._position = -1  # the entry up to which it was sent everything; -1: nothing yet
        self._steps = 0

    def applied(self, history: EventHistory, events: Sequence[BareEvent], first: int) -> None:
        """A node has applied entries from this number on, with these events in all."""
        by_entry: dict[int, list[BareEvent]] = {}
        for event in events:
            assert first <= event[0] <= history.last, f"{event} is not of these entries"
            by_entry.setdefault(event[0], []).append(event)
        for number, found in by_entry.items():
            assert self._told.setdefault(number, found) == found, f"entry {number} differs"
        self._world.counts["events told"] += len(events)

    def moves(self, manager: LogManager, history: EventHistory) -> None:
        """Let the watcher look at this node, now and then."""
        self._steps += 1
        if self._steps % STEPS or manager.store.level < 2 or history.last < self._position:
            return  # of one that is behind, it waits
        pairs = {key: value_of(held) for key, held in manager.store.held.items()}
        if self._position >= 0 and history.place_of(self._position).is_covered:
            for event in history.after(self._position, EVENTS_MAX)[0]:
                self._pairs.pop(event.key, None)
                if event.kind == "set":
                    self._pairs[event.key] = event.value
            self._world.counts["watches that went on"] += 1
        else:
            self._pairs = pairs
            self._world.counts["watches that began"] += 1
        self._position = history.last
        assert self._pairs == pairs, f"events up to {history.last} do not make the state"


class NodeEvents:
    """The events of one node since it started."""

    def __init__(self, watching: Watching, manager: LogManager) -> None:
        self._watching = watching
        self._manager = manager
        manager.store.notes_events = True
        manager.take_events()
        self._history = EventHistory(entry_number(*manager.applied), EVENTS_MAX)

    def applied(self, entries: Sequence[Entry]) -> None:
        """Take the events of entries that were applied, or of a snapshot that was taken over."""
        taken, numbers = self._manager.take_events(), entry_numbers_of(entries)
        history, store = self._history, self._manager.store
        if taken.lost_up_to > history.floor:
            history.reset(taken.lost_up_to)
            numbers = [number for number in numbers if number > taken.lost_up_to]
        history.add(taken.events, numbers)
        history.begin_after(store.since if store.level >= 2 else history.last)
        if numbers:
            self._watching.applied(history, taken.events, numbers[0])
        self._watching.moves(self._manager, history)
