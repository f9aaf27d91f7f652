"""Applying what is committed, in slices, and answering the requests that wait for it.

The core hands entries out; the state machine executes them here, some at a time, and then the core
is given back: heartbeats, votes and acknowledgements wait for a slice at most, however much there
is to apply. The thread that took a step applies the first slice, and the owner thread the rest.

A leader applies at once: clients wait. A follower that has entries to write does that after the
write, or with its next step, whichever is first: its leader waits for the answer to the write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from raftline.common.wakeup import PAUSE_S
from raftline.logmanager import LogManager
from raftline.node.batching import Batching
from raftline.node.clock import SYSTEM, Clock
from raftline.node.queue import RequestQueue
from raftline.node.watchers import Watchers
from raftline.raft.effects import Effects, ReadReady
from raftline.raft.entries import Entry
from raftline.raft.inputs import Applied
from raftline.raft.node import RawNode

SLICE_S = 0.02  # then the entry at hand is the last one of a slice
PAUSE_S_MAX = 0.05  # after a slice whose last entry took long
PIECE_ENTRIES = 500  # taken from the log in one go
LEADERSHIP_LOST = "this server lost the leadership before the entry was committed"


class Applying:
    """Applies committed entries in order, each once; the caller holds the driver's `core` lock.

    An error here stops the node: an entry that can't be executed would make it another one than
    the others. What was not executed stays to be applied.
    """

    def __init__(
        self,
        node: RawNode,
        logmanager: LogManager,
        watchers: Watchers,
        queue: RequestQueue,
        batching: Batching,
        on_applied: Callable[[list[ReadReady]], None],
        clock: Clock = SYSTEM,
    ) -> None:
        """Begin with what the files held; `on_applied` is called after some entries were applied,
        or a snapshot was taken over, with the reads that waited for that."""
        self._node = node
        self._logmanager = logmanager
        self._watchers = watchers
        self._queue = queue
        self._batching = batching
        self._on_applied = on_applied
        self._clock = clock
        self.lags = False  # a slice of what is left may be applied now
        self.follows_a_write = False  # what is left is applied after a write
        self.pause_s = PAUSE_S  # in which the others have their turn, before the next slice

    def take(self, effects: Effects, *, leads: bool) -> bool:
        """Apply a slice of what a step and those before it commit, or leave that to a write, or to
        the owner thread if it is at it; return whether this answers the requests of a group."""
        if effects.install is not None:
            self._queue.give_up_pending(LEADERSHIP_LOST)  # nobody executes their entries here
            self._logmanager.take_over(effects.install)
            self.lags = self.follows_a_write = False
            self._watchers.applied([])
            self._report(effects.install.index)
        if self.lags or not (effects.apply or self.follows_a_write):
            return False
        if effects.append and not (leads or self._node.view.reads_wait):
            self.follows_a_write = True
            return False
        return self.go_on(effects.apply)

    def go_on(self, at_hand: Sequence[Entry] = ()) -> bool:
        """Apply the next slice; return whether that answers the requests of a group. Entries that
        are `at_hand` need not be copied from the log."""
        self.follows_a_write = False
        end_s = self._clock.now_s() + SLICE_S
        answers = False
        view = self._node.view
        while (index := view.applied) < view.applying:
            if not at_hand or at_hand[0].index != index + 1:
                count = min(PIECE_ENTRIES, view.applying - index)
                at_hand = self._node.committed(index + 1, count)
            answers |= self._apply(at_hand, lambda: self._clock.now_s() >= end_s)
            if self._clock.now_s() >= end_s:
                break
        self.lags = view.applied < view.applying
        over_s = self._clock.now_s() - end_s
        self.pause_s = min(max(PAUSE_S, over_s / 2), PAUSE_S_MAX)
        return answers

    def _apply(self, entries: Sequence[Entry], is_over: Callable[[], bool]) -> bool:
        replies = self._logmanager.apply(entries, is_over)
        applied = entries[: len(replies)]
        first, last = applied[0].index, applied[-1].index
        self._watchers.applied(applied)
        self._queue.answer_applied(replies, first, last)
        self._report(last)
        queued, used_s = len(self._queue.writes), self._clock.used_s()
        return self._batching.committed(last, queued, self._clock.now_s(), used_s)

    def _report(self, index: int) -> None:
        self._on_applied(self._node.step(Applied(index), self._node.view.now_ms).reads)
