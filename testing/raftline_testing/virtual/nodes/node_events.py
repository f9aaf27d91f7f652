"""The events of each simulated node, and a watcher that moves between the nodes.

All nodes must report the same events of an entry. The events sent to the watcher, by any nodes,
must yield a node's state.
"""

from __future__ import annotations

from raftline.node.watches.watch_registry import WatchRegistry
from raftline.state.event_history import EventHistory
from raftline.state.key_events import BareEvent
from raftline.wire.commands.watch_lines import MESSAGE
from raftline.wire.key_stat import value_of

from ..world.world import World
from .manager import Manager

EVENTS_MAX = 60  # events that a node keeps: few, so that a watch must sometimes start again
STEPS = 5  # of all nodes, between two moves of the watcher


class Watching:
    """The watcher of one world, and the events that any node has sent."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._events: dict[int, list[BareEvent]] = {}
        self.order: list[BareEvent] = []  # each event once, in order
        self._pairs: dict[str, str] = {}  # the watcher's state
        self._position = -1  # it has all events up to this entry; -1: none yet
        self._steps = 0

    def started(self, watchers: WatchRegistry) -> None:
        """Handle a start of a node."""
        watchers.feed.history.bound(EVENTS_MAX, 1 << 20)

    def applied(self, manager: Manager, history: EventHistory) -> None:
        """Check a node that has applied entries, or installed a snapshot."""
        taken = manager.taken
        if taken is not None and taken.events:
            by_entry: dict[int, list[BareEvent]] = {}
            for event in taken.events:
                if event[1] == MESSAGE:  # only a node with subscribers notes it
                    continue
                assert event[0] <= history.last, f"{event} is not of these entries"
                by_entry.setdefault(event[0], []).append(event)
            for number, found in by_entry.items():
                if number not in self._events:
                    assert not self.order or self.order[-1][0] < number, f"{number} is late"
                    self.order += found
                assert self._events.setdefault(number, found) == found, f"entry {number} differs"
            self._world.counts["events told"] += len(taken.events)
        self.moves(manager, history)

    def moves(self, manager: Manager, history: EventHistory) -> None:
        """Now and then let the watcher move to this node."""
        self._steps += 1
        if self._steps % STEPS or manager.store.is_at_floor or history.last < self._position:
            return  # the node is behind, so the watcher waits
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
