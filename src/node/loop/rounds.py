"""The decisions of the driver: when requests are served, and which replies are sent after a step.

This module has no threads, no waiting and no `core` lock. The driver takes the lock and owns the
threads; a schedule makes the same decisions on a virtual clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from ...net.protocol.host import ReplySink
from ...raft.log import Snapshot
from ...raft.node_view import NodeView
from ..clock import Clock, OwnerSleep
from .queue import RequestQueue
from .stepper import NodeRim, Stepper
from .writer import DiskTask, Durable

FLUSH_S = 0.025  # after this time a thread sends no further replies; the owner sends the rest
LATE_LOOK_MS = 1000  # between two checks for requests that were not answered in time


class Rounds:
    """Decides when the stepper serves waiting requests, and how long the owner sleeps."""

    def __init__(
        self,
        view: NodeView,
        stepper: Stepper,
        queue: RequestQueue,
        rim: NodeRim,
        sleep: OwnerSleep,
        clock: Clock,
        on_failure: Callable[[Exception], None],
    ) -> None:
        """`on_failure` stops the node."""
        self._view = view
        self._stepper = stepper
        self._queue = queue
        self._rim = rim
        self._sleep = sleep
        self._clock, self._now_s = clock, clock.reader_s()
        self._on_failure = on_failure
        self.late_look_ms = 0
        self.ready_sinks: deque[ReplySink] = deque()  # the connections whose replies can be sent

    # --- with `core` held ------------------------------------------------------------------------

    def do_round(self) -> None:
        """Do what is due now, and serve the requests that need not wait."""
        now = self._clock.now_ms()
        self._stepper.pass_time(now)
        if now >= self.late_look_ms:
            self.late_look_ms = now + LATE_LOOK_MS
            self._stepper.stall.look(now)
            self._rim.give_up_late(now)
            self._queue.drop_answered()
            self._stepper.watchers.look(self._view)
        queue = self._queue
        queue.let_long_go()
        if queue.writes or queue.reads or queue.others or queue.held:
            self._stepper.serve()
        if queue.held and queue.held[0].hold_until_ms < self._sleep.until_ms:
            self._sleep.wake()  # that batch is refused at that time

    def keep_time(self) -> None:
        """Do a round, then apply a slice of the entries that earlier steps left."""
        self.do_round()
        if self._stepper.applying.lags:
            self._stepper.apply_slice()

    def after_write(self, tasks: Sequence[DiskTask], durable: Durable | None) -> None:
        """Release the steps that waited for a write; steps queued since then are written next."""
        self._stepper.written(tasks, durable)
        if self._queue.writes:
            self.do_round()
        arrived: Snapshot | None = None
        for effects, _ in tasks:
            arrived = effects.check or arrived
        self._rim.wrote(arrived)

    def begin_sleep(self) -> float:
        """Begin the owner's sleep; return its longest duration, in seconds."""
        self._sleep.begin()
        pause_s = self._pause_s()
        self._sleep.until_s = self._now_s() + pause_s
        return pause_s

    def _pause_s(self) -> float:
        now = self._clock.now_ms()
        deadline = min(self._stepper.wake_at_ms, now + LATE_LOOK_MS)
        held_until_ms = self._queue.held_until_ms
        if held_until_ms is not None:
            deadline = min(deadline, held_until_ms)
        self._sleep.until_ms = deadline
        now_s = self._now_s()
        gather_s = min(self._stepper.next_look_s(), max(now_s, self._queue.long_due_s)) - now_s
        pause_s = 0.0 if self._stepper.applying.lags else (deadline - now) / 1000
        self._sleep.is_for_a_group = gather_s < pause_s
        return min(gather_s, pause_s)

    # --- without `core` --------------------------------------------------------------------------

    def look(self, take_round: Callable[[], bool]) -> None:
        """Serve the new requests that need not wait, then send the replies that are ready.

        `take_round` does a round with `core` held; it returns False if another thread holds
        `core`. Then the owner tries again, so no request is forgotten.
        """
        queue = self._queue
        if queue.writes or queue.reads or queue.others:
            while self._stepper.is_wanted() and take_round():
                if not (queue.writes or queue.reads or queue.others):
                    break  # nearly always
            if queue.writes or queue.reads:
                self._wake_owner_for_group()
        stepper = self._stepper
        watchers = stepper.watchers
        has_events = watchers.are_used and watchers.feed.has_work
        if self.ready_sinks or stepper.write_groups.replies_leave or has_events:
            self.flush_replies()

    def _wake_owner_for_group(self) -> None:
        """Wake the owner if it would sleep past the time at which gathered requests are served."""
        sleep = self._sleep
        if not sleep.is_for_a_group and self._stepper.next_look_s() < sleep.until_s:
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
        stepper, queue, groups = self._stepper, self._queue, self._stepper.write_groups
        is_over = groups.replies_leave and groups.replied(self._now_s())
        if is_over and (queue.writes or queue.reads):
            self._wake_owner_for_group()
        if stepper.watchers.are_used:
            try:
                stepper.watchers.hand_out()
            except Exception as error:  # watches would get the next events after a gap
                self._on_failure(error)
