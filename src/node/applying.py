"""Applying what is committed, and answering the requests that wait for it.

A leader applies at once: clients wait. A follower that has entries to write applies those of the
step behind that write, since the leader waits for its answer, and nobody for what it applies.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from raftline.logmanager import LogManager
from raftline.node.batching import Batching
from raftline.node.queue import RequestQueue
from raftline.node.watchers import Watchers
from raftline.raft.effects import Effects
from raftline.raft.entries import Entry


class Applying:
    """Applies committed entries in order; the caller holds the driver's `core` lock."""

    def __init__(
        self, logmanager: LogManager, watchers: Watchers, queue: RequestQueue, batching: Batching
    ) -> None:
        self._logmanager = logmanager
        self._watchers = watchers
        self._queue = queue
        self._batching = batching
        self._late: Sequence[Entry] = ()  # of an earlier step: they go before all others

    def take(self, effects: Effects, *, leads: bool) -> bool:
        """Apply what a step commits, or let it wait for `catch_up`; return whether that answers
        the requests of a group."""
        self.catch_up()
        if effects.install is not None:
            self._logmanager.take_over(effects.install)
            self._watchers.applied([])
        if effects.append and not (leads or effects.reads):  # a read sees what this step applies
            self._late = effects.apply
            return False
        return self._apply(effects.apply)

    def catch_up(self) -> None:
        """Apply what waits, so that the state is as the core takes it to be."""
        late, self._late = self._late, ()
        self._apply(late)

    def _apply(self, entries: Sequence[Entry]) -> bool:
        if not entries:
            return False
        first, last = entries[0].index, entries[-1].index
        replies = self._logmanager.apply(entries)
        self._watchers.applied(entries)
        self._queue.answer_applied(replies, first, last)
        queued, used_s = len(self._queue.writes), time.process_time()
        return self._batching.committed(last, queued, time.monotonic(), used_s)
