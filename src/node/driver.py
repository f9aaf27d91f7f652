"""Who may call the consensus core, and in what order its Effects are carried out.

One lock, `core`, for a step of the core (docs/architecture.md). The owner thread gathers requests
and keeps time; answers are stepped by the thread that received them; what is to be written is
left to the writer thread (writer.py), so a slow disk holds up only what waits for it.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from raftline.common.wakeup import Wakeup
from raftline.logmanager import LogManager
from raftline.net.batch import Batch, ReplySink
from raftline.net.host import Origin
from raftline.node.compaction import Compaction
from raftline.node.delivery import Delivery
from raftline.node.handover import Handover
from raftline.node.queue import STOPPING, RequestQueue
from raftline.node.service import Service
from raftline.node.status import node_facts
from raftline.node.writer import DiskTask, Writer
from raftline.raft.effects import Effects, Snapshot
from raftline.raft.messages import Message, PeerError
from raftline.raft.node import Node
from raftline.wire.membercommands import change_reply, membership_facts
from raftline.wire.protocol import outcome_unknown

LATE_LOOK_MS = 1000  # between two looks for requests that nobody could answer in time
LEADERSHIP_LOST = "this server lost the leadership before the entry was committed"


class Rim(Protocol):
    """What the driver needs of the world around it."""

    def send(self, message: Message) -> None: ...
    def not_leader(self, leader: str) -> str: ...
    def report(self, effects: Effects) -> None: ...
    def wrote(self, arrived: Snapshot | None) -> None: ...
    def give_up_late(self, now: int) -> None: ...
    def fail(self, error: BaseException) -> None: ...


# Leases need a clock that goes on while the machine sleeps; Linux has one.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_ms() -> int:
    """The only clock: it never goes back, and wall-clock jumps don't move it."""
    return time.clock_gettime_ns(_CLOCK) // 1_000_000


class Driver:
    """Steps the core, one caller at a time, and carries out what it asks."""

    def __init__(self, node: Node, logmanager: LogManager, rim: Rim, hold_ms: int) -> None:
        self.node = node
        self._logmanager = logmanager
        self._rim = rim
        self._core = threading.Lock()
        self._writer = Writer(logmanager, self._core, self._written, self._fail)
        self.compaction = Compaction(node, logmanager, self._core, self._writer)
        self._queue = RequestQueue(hold_ms)
        self._wakeup = Wakeup()  # wakes the owner
        self._asleep_until_s, self._asleep_until_ms = 0.0, 0  # by its clock, by that of deadlines
        self._naps = False  # it sleeps until those who gather are to be served
        self._service = Service(
            node, self._queue, self._writer, rim,
            lambda effects: self._carry_out(effects, None), self._wakeup.set,
        )  # fmt: skip
        self._delivery = Delivery(rim.send)
        self._handover = Handover()
        self._stopping = False
        self._failure: BaseException | None = None
        self._late_look_ms = 0
        self.ready_sinks: deque[ReplySink] = deque()  # of replies that can leave
        self.syncs = 0
        self._threads: list[threading.Thread] = []

    # --- from any thread --------------------------------------------------------------

    def submit(self, batch: Batch) -> None:
        """Have requests served: by this thread, unless another one is at it, or has them wait to
        share a write or a round with more."""
        batch.asked_ms = now_ms()
        self._service.enqueue(batch)
        if self._stopping:
            with self._core:
                self._turn_all_away()
        self._look()

    def receive(self, messages: Sequence[Message], origin: Origin | None) -> list[str]:
        """Step messages of a peer into the core; return a complaint for each that was refused."""
        refused = []

        def step() -> None:
            for message in messages:
                self._delivery.asked(message, origin)
                try:
                    self._carry_out(self.node.receive(message, now_ms()), origin)
                except PeerError as error:
                    refused.append(str(error))

        self._step(step)
        return refused

    def lost(self, peer: str) -> None:
        """Tell the core that a peer's connection broke."""
        if self._stopping:
            return  # it is this server that goes away
        self._step(lambda: self._carry_out(self.node.lost(peer, now_ms()), None))

    def transfer(self, to: str | None) -> Batch:
        """Begin to hand the leadership over; the batch's one reply says how that ended."""
        batch = Batch(["transfer"], is_read=False)

        def step() -> None:
            not_leader = self._rim.not_leader
            begun = self._handover.begin(batch, self.node, to, not_leader, now_ms())
            self._carry_out(begun, None)

        self._step(step)
        return batch

    def start(self, name: str) -> None:
        """Begin to serve: the owner thread and the writer thread."""
        self._threads = [
            threading.Thread(target=run, name=f"{name} {what}", daemon=True)
            for run, what in ((self.run, "owner"), (self._writer.run, "writer"))
        ]
        for thread in self._threads:
            thread.start()

    def stop(self, patience_s: float) -> None:
        """Tell everybody who waits, write what is left, and end both threads."""
        self._stopping = True
        self._wakeup.set()
        self._threads[0].join(patience_s)
        self._writer.stop()
        self._threads[1].join(patience_s)
        if self._failure is None and not self._threads[1].is_alive():
            self._logmanager.close()

    @property
    def has_written(self) -> bool:
        """Whether the writer thread has ended, so that nobody touches the files any more."""
        return not any(thread.is_alive() for thread in self._threads[1:])

    def members(self) -> dict[str, object]:
        """Return the configuration in use here, as `members` tells it."""
        with self._core:
            state = self.node.state
            return membership_facts(state.configurations, state.commit_index)

    def status(self) -> dict[str, object]:
        """Return what `status` tells."""
        with self._core:
            facts = node_facts(self.node.state, now_ms())
            return {**facts, "log_bytes": self._logmanager.log_bytes, "syncs": self.syncs}

    # --- what waits, and time --------------------------------------------------------------

    def run(self) -> None:
        """Keep time: sleep until the next deadline, and step what is due."""
        while not self._stopping:
            with self._core:  # a step in between that wants to wake us earlier must see this
                # Who leaves a request meanwhile needs no core for it, and must wake it as well.
                self._naps, self._asleep_until_s = False, math.inf
                pause_s = self._pause_s()
                self._asleep_until_s = time.monotonic() + pause_s
            if pause_s > 0:
                self._wakeup.wait(pause_s)
            self._asleep_until_s, self._asleep_until_ms = 0.0, 0
            self._step(self._round)
        with self._core:
            self._turn_all_away()
        self._flush_replies()

    def _pause_s(self) -> float:
        now = now_ms()
        deadline = min(self.node.wake_at_ms, now + LATE_LOOK_MS)
        if self._queue.held_until_ms is not None:
            deadline = min(deadline, self._queue.held_until_ms)
        self._asleep_until_ms = deadline
        gather_s = self._service.until_s() - time.monotonic()
        pause_s = (deadline - now) / 1000
        self._naps = gather_s < pause_s
        return min(gather_s, pause_s)

    def _round(self) -> None:
        """Do what time asks for, and serve what need not wait."""
        now = now_ms()
        if now >= self.node.wake_at_ms:
            self._carry_out(self.node.pass_time(now), None)
        if now >= self._late_look_ms:
            self._late_look_ms = now + LATE_LOOK_MS
            self._rim.give_up_late(now)
        self._service.serve(now_ms)  # time has passed: what is applied may take long

    def _look(self) -> None:
        """Serve what is new and need not wait; then send the replies that can leave.

        Where another thread has the core the owner looks again, so nothing is left lying.
        """
        while self._service.is_wanted() and not self._stopping:
            if not self._core.acquire(blocking=False):
                self._wakeup.set()
                break
            try:
                self._guard(self._round)
            finally:
                self._core.release()
        is_left = self._queue.reads or self._queue.writes  # to gather, for a while
        if is_left and not self._naps and self._service.until_s() < self._asleep_until_s:
            self._wakeup.set()
        self._flush_replies()

    def _flush_replies(self) -> None:
        """Send the replies that the steps before have completed."""
        while self.ready_sinks:
            try:
                sink = self.ready_sinks.popleft()
            except IndexError:  # another thread was faster
                return
            sink.flush()

    # --- with `core` held ------------------------------------------------------------------

    def _carry_out(self, effects: Effects, origin: Origin | None) -> None:
        """Carry out one Effects: send, queue for the disk, apply, answer, tell."""
        for message in effects.send:
            self._rim.send(message)
        if effects.wants_disk or (effects.send_after_save and self._writer.is_busy):
            self._writer.add((effects, origin))
        elif effects.send_after_save:
            self._delivery.deliver(effects.send_after_save, origin)
        self._service.leads = self.node.is_leader
        led_term = self.node.state.term if self.node.is_leader else None
        if self._queue.are_pending_beside(led_term):
            # Before anything is applied: what now lies at their indexes may be another's.
            self._queue.give_up_pending(LEADERSHIP_LOST)
            self._service.lost_leadership()
        if effects.install is not None:
            self._logmanager.take_over(effects.install)
        self._answer(effects)
        self._tell(effects)

    def _answer(self, effects: Effects) -> None:
        """Apply what is committed, and answer whom that or anything else in this step answers."""
        if effects.apply:
            replies = self._logmanager.apply(effects.apply)
            self._queue.answer_applied(replies, effects.apply[0].index, effects.apply[-1].index)
            if self._service.committed(effects.apply[-1].index):
                self._naps = False  # the next ones to gather are not waited for as long
        for ready in effects.reads:
            ready.token.reader = self._logmanager
            ready.token.wake()
        if effects.reads:
            self._service.confirmed(len(effects.reads))
            self._naps = False
        for batch, outcome, text in effects.settled:
            batch.answer_all(change_reply(batch.commands[0], outcome, text))
        for batch in effects.refused:  # its leadership ended: look for the new leader
            self._queue.put(batch)

    def _tell(self, effects: Effects) -> None:
        """Tell the world, and wake the owner if this step left it something to do."""
        self._rim.report(effects)
        self._handover.look(self.node.state)
        gives_way = self.node.state.transfer is not None
        is_held = self._queue.held_until_ms is not None
        leader_found = is_held and self.node.state.leader is not None and not gives_way
        is_early = self.node.wake_at_ms < self._asleep_until_ms
        if effects.refused or leader_found or is_early:
            self._wakeup.set()

    def _written(self, durable: tuple[int, int] | None) -> None:
        """Let go what waited for this write, and have what gathered meanwhile written next."""
        with self._core:
            work = self._writer.take_written()
            if self._failure is None:
                self._after_write(work, durable)
        self._look()

    def _after_write(self, work: Sequence[DiskTask], durable: tuple[int, int] | None) -> None:
        if durable is not None:
            self.syncs += 1
        for effects, origin in work:
            if effects.send_after_save:
                self._delivery.deliver(effects.send_after_save, origin)
        if durable is not None:
            self._carry_out(self.node.synced(*durable, now_ms()), None)
        if self._queue.writes:
            self._round()
        arrived = [effects.check for effects, _ in work if effects.check is not None]
        self._rim.wrote(arrived[-1] if arrived else None)

    # --- for the threads of snapshots: see docs/snapshots.md ---------------------------------

    def step(self, take: Callable[[Node, int], Effects]) -> None:
        """Let the core take an input."""
        self._step(lambda: self._carry_out(take(self.node, now_ms()), None))

    def fail(self, error: Exception) -> None:
        """Stop the node: an invariant broke in a thread beside this one."""
        with self._core:
            self._fail(error)

    # --- the end ---------------------------------------------------------------------------

    def _step(self, step: Callable[[], None]) -> None:
        """Take one step; then look whether it left something to do."""
        with self._core:
            self._guard(step)
        self._look()

    def _guard(self, step: Callable[[], None]) -> None:
        """Take one step with `core` held. After a failure there are no more; an error is one."""
        if self._failure is None:
            try:
                step()
            except Exception as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Stop for good, with `core` held: after a failed write or a broken invariant nothing
        here can be trusted, so nobody steps the core again."""
        self._failure = self._failure or error
        self._stopping = True
        self._writer.abandon()
        self._turn_all_away()
        self._wakeup.set()
        self._rim.fail(error)

    def _turn_all_away(self) -> None:
        state = self.node.state
        failed = self._failure is not None
        self._queue.turn_all_away("this server failed" if failed else "this server is stopping")
        for batch in state.drop_reads():
            batch.answer_all(STOPPING)
        pending, state.pending_change = state.pending_change, None
        if pending is not None:
            pending.token.answer_all(outcome_unknown("this server is stopping; see: members"))
        for _, batch in state.waiting:
            batch.answer_all(STOPPING)
        self._handover.end()
