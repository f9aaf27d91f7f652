"""Everything that any thread may do without `core`: add requests, look at them, send ready replies.

Its answers may be a moment old for the thread that then takes `core`. This module has no threads
and no waiting. The driver owns the threads; a schedule makes the same decisions on a virtual clock.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from ...net.protocol.host import Batch, ReplySink
from ...raft.node_view import NodeView
from ...wire.limits import WRITES_UNDER_WAY
from ..clock import Clock, OwnerSleep
from ..watches.watch_registry import WatchRegistry
from .batching import Batching
from .queue import RequestQueue
from .writer import WriteQueue

Wanted = tuple[bool, bool, bool]  # writes, reads, other requests
FLUSH_S = 0.025  # after this time a thread sends no further replies; the owner sends the rest


class Arrivals:
    """The requests that wait to be served, and the connections whose replies can be sent."""

    def __init__(
        self,
        view: NodeView,
        queue: RequestQueue,
        writes: WriteQueue,
        watchers: WatchRegistry,
        sleep: OwnerSleep,
        clock: Clock,
        on_failure: Callable[[Exception], None],
    ) -> None:
        """`on_failure` stops the node."""
        self._view = view
        self._queue = queue
        self._writes = writes
        self._watchers = watchers
        self._sleep = sleep
        self._clock, self._now_s = clock, clock.reader_s()
        self._on_failure = on_failure
        self.batching = Batching(self._now_s(), clock.used_s)
        self.ready_sinks: deque[ReplySink] = deque()  # the connections whose replies can be sent
        self._read_rounds_max = view.options.read_rounds

    def put(self, *batches: Batch) -> None:
        """Put batches that arrived together in the queue."""
        queue, now_s, now_ms = self._queue, self._now_s(), self._clock.now_ms()
        reads, writes = len(queue.reads), len(queue.writes)
        for batch in batches:
            batch.asked_s, batch.asked_ms = now_s, now_ms
        queue.put(*batches)
        if len(queue.reads) > reads:
            self.batching.reads.arrived(reads + 1, now_s)
        if len(queue.writes) > writes:
            self.batching.writes.arrived(writes + 1, now_s)

    # --- which requests are served: the numbers for the decisions of batching --------------------

    def wanted(self) -> Wanted:
        """Return which of the waiting requests are served now."""
        queue = self._queue
        writes = bool(queue.writes) and self._serves_writes()
        return writes, bool(queue.reads) and self._serves_reads(), bool(queue.others)

    def _serves_writes(self) -> bool:
        queued, writes = len(self._queue.writes), self._writes
        is_writing = writes.is_busy
        is_full = (is_writing and writes.is_full) or self.are_many_under_way()
        return self.batching.serves_writes(
            queued, self._now_s(), is_writing=is_writing, is_full=is_full
        )

    def _serves_reads(self) -> bool:
        queued, is_reading = len(self._queue.reads), self._is_reading()
        return self.batching.serves_reads(queued, self._now_s(), is_reading=is_reading)

    def are_many_under_way(self) -> bool:
        """Whether very many entries are not applied yet. New entries would wait for all of them,
        while in the queue the connections take turns."""
        if not self.batching.in_flight:  # as with a single client
            return False
        view = self._view
        waiting = view.log.last_index - view.applied + self._queue.additional_pending
        return waiting >= WRITES_UNDER_WAY

    def _is_reading(self) -> bool:
        return self._view.read_rounds >= self._read_rounds_max

    def next_check_s(self) -> float:
        """Return the time by which gathered requests are served, in seconds of the clock."""
        queue, writes = self._queue, self._writes
        if not (queue.writes or queue.reads):
            return math.inf
        return self.batching.next_check_s(
            len(queue.writes),
            len(queue.reads),
            is_writing=writes.is_busy,
            is_full=writes.is_full or self.are_many_under_way(),
            is_reading=bool(queue.reads) and self._is_reading(),
        )

    # --- after each step and each new request, once no round is wanted or possible ---------------

    def settle(self) -> None:
        """Wake the owner for the requests that are still gathered, then send the replies that
        are ready."""
        if self._queue.writes or self._queue.reads:
            self._wake_owner_for_group()
        watchers = self._watchers
        has_events = watchers.are_used and watchers.feed.has_work
        if self.ready_sinks or self.batching.writes.replies_leave or has_events:
            self.flush_replies()

    def _wake_owner_for_group(self) -> None:
        """Wake the owner if it would sleep past the time at which gathered requests are served."""
        sleep = self._sleep
        if not sleep.is_for_a_group and self.next_check_s() < sleep.until_s:
            sleep.wake()

    def flush_replies(self) -> None:
        """Send the replies that earlier steps completed, then the events.

        If there are very many, the owner sends the rest: this thread may be needed to receive a
        follower's answers. The clock is read after each connection, since with many runnable
        threads each send may wait for the interpreter.
        """
        end_s = self._now_s() + FLUSH_S
        while self.ready_sinks:
            try:
                sink = self.ready_sinks.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                sink.flush()
            except Exception:  # out of memory, perhaps: end this connection, not this thread
                sink.break_off()
            if self.ready_sinks and self._now_s() >= end_s:
                self._sleep.wake()
                break
        queue, groups = self._queue, self.batching.writes
        is_over = groups.replies_leave and groups.replied(self._now_s())
        if is_over and (queue.writes or queue.reads):
            self._wake_owner_for_group()
        if self._watchers.are_used:
            try:
                self._watchers.hand_out()
            except Exception as error:  # watches would get the next events after a gap
                self._on_failure(error)
