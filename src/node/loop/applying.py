"""Applying committed entries, in slices, and answering the requests that wait for them.

The core hands out entries, and the state machine executes some of them here. Then the core is
released, so heartbeats, votes and acknowledgements wait for one slice at most, however many entries
there are. The thread that took a step applies the first slice, and the owner thread the rest.

A leader applies at once, since clients wait. A follower that has entries to write applies after the
write, or with its next step, whichever comes first: its leader waits for the answer to the write.

Entries whose work is long (state/work.py) are applied in a separate thread, without the core:
`begin_offload` hands them out, `end_offload` takes their replies. Nothing else is applied
meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...common.process.wakeup import PAUSE_S
from ...logmanager import LogManager
from ...raft.effects import Effects, ReadReady
from ...raft.inputs import Applied
from ...raft.log import Entry
from ...raft.node import RawNode
from ...state.work import count_short
from ...storage.sums import next_sum
from ..clock import SYSTEM, Clock
from ..watches.watch_registry import WatchRegistry
from .batching import Batching
from .queue import RequestQueue

SLICE_S = 0.02  # no new entry begins after this time in a slice
PAUSE_S_MAX = 0.05  # after a slice whose last entry took long
PIECE_ENTRIES = 500  # taken from the log at once
LEADERSHIP_LOST = "this server lost the leadership before the entry was committed"


class Applying:
    """Applies committed entries in order, each once; the caller holds the driver's `core` lock.

    A caller of `take` with a snapshot to install makes sure that `is_offloaded` is False.

    An error here stops the node: without an entry that can't be executed, its state would differ
    from the state of the other nodes. The entries that were not executed remain to be applied.
    """

    def __init__(
        self,
        node: RawNode,
        logmanager: LogManager,
        watchers: WatchRegistry,
        queue: RequestQueue,
        batching: Batching,
        on_applied: Callable[[list[ReadReady]], None],
        clock: Clock = SYSTEM,
    ) -> None:
        """Begin after the entries that recovery has applied. `on_applied` is called after some
        entries were applied or a snapshot was installed, with the reads that waited for that."""
        self._node = node
        self._logmanager = logmanager
        self._feed = watchers.feed
        self._queue = queue
        self._batching = batching
        self._on_applied = on_applied
        self._now_s = clock.reader_s()
        self.lags = False  # another slice of the remaining entries may be applied now
        self.follows_a_write = False  # the remaining entries are applied after a write
        self._at_hand: Sequence[Entry] = ()  # some of these; they may already be applied
        self.pause_s = PAUSE_S  # before the next slice, so that other threads get the lock
        # Called when long entries wait for the one thread that calls `begin_offload`, then
        # `apply_offloaded` without `core`, then `Stepper.end_offload`. None: no entry counts
        # as long.
        self.on_long: Callable[[], None] | None = None
        # Called with `core` held where the state may be summed, right after that entry was applied.
        self.on_sum: Callable[[], None] = lambda: None
        self.awaits_offload = False  # long entries wait for that thread, and later ones for them
        self.is_offloaded = False  # entries are being applied without `core`: the pairs change
        self._begun_s = 0.0
        self._short_until = 0  # the last entry that is known to be short

    def take(self, effects: Effects, *, leads: bool) -> bool:
        """Apply a slice of the entries that this step and earlier ones committed, or leave that to
        a write, or to the owner thread if it already applies; return whether this answers the
        requests of a group."""
        if effects.install is not None:
            self._queue.give_up_pending(LEADERSHIP_LOST)  # their entries are not executed here
            self._logmanager.take_over(effects.install)
            self.lags = self.follows_a_write = self.awaits_offload = False
            self._feed.applied([])
            self._report(effects.install.index)
        if self.lags or not (effects.apply or self.follows_a_write):
            return False
        if self.is_offloaded or self.awaits_offload:
            return False
        if effects.append and not (leads or self._node.view.reads_wait):
            self.follows_a_write = True
            self._at_hand = effects.apply
            return False
        return self.apply_next(effects.apply)

    def apply_next(self, at_hand: Sequence[Entry] = ()) -> bool:
        """Apply the next slice; return whether that answers the requests of a group. Entries in
        `at_hand` need not be copied from the log."""
        at_hand, self._at_hand = at_hand or self._at_hand, ()
        self.follows_a_write = False
        self.awaits_offload = False
        now_s = self._now_s()
        end_s = now_s + SLICE_S
        answers = False
        view = self._node.view
        index, last = view.applied, view.applying
        while index < last and now_s < end_s:
            if not at_hand or at_hand[0].index != index + 1:
                count = min(PIECE_ENTRIES, last - index)
                at_hand = self._node.committed(index + 1, count)
            if self.on_long is not None:
                if self._short_until <= index:  # each entry is judged once, not in every slice
                    count = count_short(self._logmanager.store, at_hand)
                    if not count:
                        self.awaits_offload = True
                        self.on_long()
                        break
                    self._short_until = index + count
                at_hand = at_hand[: self._short_until - index]
            if (room := next_sum(index) - index) < len(at_hand):
                at_hand = at_hand[:room]
            awaited = bool(self._queue.pending)
            replies = self._logmanager.apply(at_hand, self._now_s, end_s, answers=awaited)
            answers |= self._answer(at_hand, replies)
            index += len(replies)
            now_s = self._now_s()
        self.lags = index < last and not self.awaits_offload
        if self.lags:
            self._pause_after(now_s - end_s)
        return answers

    def _pause_after(self, over_s: float) -> None:
        self.pause_s = min(max(PAUSE_S, over_s / 2), PAUSE_S_MAX)

    def begin_offload(self) -> Sequence[Entry]:
        """Return the next entries if they are long, otherwise none. The caller applies some of them
        with `apply_offloaded`, and then calls `end_offload`."""
        if not self.awaits_offload:
            return ()
        index = self._node.view.applied
        room = next_sum(index) - index
        count = min(PIECE_ENTRIES, self._node.view.applying - index, room)
        entries = self._node.committed(index + 1, count)
        store, long = self._logmanager.store, 1
        while long < len(entries) and not count_short(store, entries[long : long + 1]):
            long += 1
        self.awaits_offload, self.is_offloaded = False, True
        self._begun_s = self._now_s()
        return entries[:long]

    def apply_offloaded(self, entries: Sequence[Entry]) -> list[str]:
        """Apply some of these entries, without `core`; return their replies."""
        end_s = self._begun_s + SLICE_S
        return self._logmanager.apply_offloaded(entries, self._now_s, end_s)

    def end_offload(self, entries: Sequence[Entry], replies: list[str]) -> bool:
        """Report the applied entries and apply the next slice; return what `apply_next` returns."""
        over_s = self._now_s() - self._begun_s - SLICE_S
        self.is_offloaded = False
        answers = self._answer(entries, replies)
        answers |= self.apply_next()
        if self.awaits_offload:
            self._pause_after(over_s)
        return answers

    def _answer(self, entries: Sequence[Entry], replies: list[str]) -> bool:
        """Answer the requests of the applied entries, one for each reply."""
        first, last = entries[0].index, entries[len(replies) - 1].index
        self._feed.applied(entries[: len(replies)])
        if self._queue.pending:
            self._queue.answer_applied(replies, first, last)
        self._report(last)
        if self._logmanager.store.to_sum or next_sum(last - 1) == last:
            self.on_sum()
        if not self._batching.in_flight:
            return False
        return self._batching.committed(last, len(self._queue.writes), self._now_s())

    def _report(self, index: int) -> None:
        applied = Applied(index, self._logmanager.chain)
        self._on_applied(self._node.step(applied, self._node.view.now_ms).reads)
