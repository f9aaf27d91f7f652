"""The threads that step the core.

The lock `core` owns the Stepper (docs/develop/architecture.md): `with self.core as stepper:` is
the only way to it, so a function that gets a Stepper is called with the lock held, in whichever
thread. Work that needs no lock is in arrivals.py. The owner thread gathers requests
and keeps time. The thread that received a peer's answer steps it into the core. The writer thread
(writer.py) does all writes, so a slow disk delays only the steps that wait for it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from ...common.identities import Build
from ...common.process.guarded_thread import guarded_thread
from ...common.process.mutex import Mutex
from ...common.process.wakeup import Wakeup
from ...logmanager import LogManager
from ...net.protocol.host import Batch, Origin
from ...raft.effects import Effects
from ...raft.inputs import Input, PeerBuild, PeerDisconnected
from ...raft.messages import Message
from ...raft.node import RawNode
from ...state.work import is_long, is_quick
from ...wire.replies.refusals import code_of
from ..clock import SYSTEM, Clock, OwnerSleep
from .arrivals import Wanted
from .measures import Measures, node_facts
from .parts import KnownParts
from .queue import RequestQueue
from .quota import Quota
from .stepper import NodeRim, Stepper
from .writer import Durable, WriteQueue, Writer

DISK_CHECK_S = 0.01  # between two checks of the disk, while it has much room
HANDOVER_LIMIT_S = 2.0  # at a human pace, an election timeout is too long to delay a stop

_Result = TypeVar("_Result")


class Driver:
    """Lets one thread at a time step the core, and schedules the work that each step leaves."""

    def __init__(
        self,
        node: RawNode,
        logmanager: LogManager,
        rim: NodeRim,
        hold_ms: int,
        clock: Clock = SYSTEM,
        quota: Quota | None = None,
        parts: KnownParts | None = None,
    ) -> None:
        self.node = node
        self._clock = clock
        self._logmanager = logmanager
        self._rim = rim
        self.measures = Measures(clock)
        self.writes = WriteQueue()
        self._queue = RequestQueue(
            hold_ms,
            self.measures,
            clock=clock,
            is_long=partial(is_long, logmanager.store),
            is_quick=partial(is_quick, logmanager.store),
        )
        self.request_room = self._queue.room
        self._wakeup = Wakeup()
        self._sleep = OwnerSleep(self._wakeup.set)
        self.offload = threading.Lock()  # held to apply without `core`; taken before `core`
        self._long_entries = Wakeup()
        stepper = Stepper(
            node, logmanager, self.writes, self._queue, rim, self._sleep, self.fail, clock
        )
        stepper.quota = self._quota = quota
        stepper.parts = parts
        self._disk_check_s = 0.0  # the time of the next check
        self._applying, self._arrivals = stepper.applying, stepper.arrivals
        self._stall = stepper.stall
        self.watchers = stepper.watchers
        self.watchers.on_failure = self.fail
        self.ready_sinks = self._arrivals.ready_sinks
        self.queue = self._arrivals.put  # in a step: its thread serves the request after it
        self.core = Mutex(stepper)
        self._writer = Writer(
            logmanager, self.writes, self.core, self._written, self._fail, self.measures
        )
        self.between_writes = self._writer.between_writes
        self.look_between_writes = self._writer.look_between_writes
        self._stopping = False
        self._failure: BaseException | None = None
        self.syncs = 0
        self._threads: list[threading.Thread] = []

    # --- from any thread --------------------------------------------------------------

    def submit(self, *batches: Batch, more_come: bool = False) -> None:
        """Queue requests, and serve them in this thread if the core is free.

        They may have to wait, to share a write or a round with later requests. With `more_come`,
        this thread calls again soon, so nothing is served yet.
        """
        self._arrivals.put(*batches)
        if self._stopping:
            with self.core as stepper:
                self._turn_all_away(stepper)
        if not more_come:
            self._serve()

    def receive(self, messages: Sequence[Message], origin: Origin | None) -> list[str]:
        """Step messages of a peer into the core; return a complaint for each refused message."""
        return self._step(partial(Stepper.receive_all, messages=messages, origin=origin)) or []

    def peer_disconnected(self, peer: str) -> None:
        """Report to the core that a peer's connection broke."""
        if not self._stopping:  # otherwise this server closed the connection
            self.step(PeerDisconnected(peer))

    def peer_build(self, peer: str, build: Build) -> None:
        """Report a peer's build to the core; it is not heard when the connection to it broke."""
        if not self._stopping:
            applies = build.applies if build.is_heard else None
            self.step(PeerBuild(peer, applies, build.is_at_floor))

    def step(self, event: Input) -> None:
        """Step an input of another thread into the core (docs/develop/how-a-write-travels.md)."""
        self._step(lambda stepper: stepper.take(event))

    def step_by(self, step: Callable[[RawNode, int], Effects]) -> None:
        """Step the core for another program (the course's controller), and carry out the Effects
        that it returns. `step` gets the core and the time."""
        self._step(lambda stepper: stepper.carry_out(step(self.node, self._clock.now_ms())))

    def transfer(self, to: str | None) -> Batch:
        """Begin a leadership transfer; the batch's only reply reports how the transfer ended."""
        batch = Batch(["transfer"], is_read=False)
        self._step(lambda stepper: stepper.transfer(batch, to))
        return batch

    def begin_without(self, names: Sequence[str]) -> str:
        """Take an operator's claim that these members never ran; return the reply."""
        replies: list[str] = []
        self._step(lambda stepper: replies.append(stepper.begin_without(names)))
        return replies[0]

    def hand_over(self, election_timeout_ms: int) -> None:
        """Transfer the leadership, if this server has it, to any member that can take it.

        This takes at most an election timeout. If the first target goes away in the meantime (all
        members stop at once), another one is tried. If no target is left, return at once.
        """
        end_s = self._clock.now_s() + min(election_timeout_ms / 1000, HANDOVER_LIMIT_S)
        while self.node.view.is_leader and (left_s := end_s - self._clock.now_s()) > 0:
            batch = self.transfer(None)
            if not batch.wait(left_s) or code_of(batch.replies[0]) != "not-taken-over":
                return

    def sum_states(self, on_sum: Callable[[], None]) -> None:
        """Call this, with `core` held, after each entry at which the state may be summed."""
        self._applying.on_sum = on_sum

    def start(self, name: str) -> None:
        """Start the owner thread, the writer thread and the thread for long entries."""
        runs = {"owner": self.run, "writer": self._writer.run, "applier": self._apply_offloaded}
        self._threads = [
            guarded_thread(run, f"{name} {what}", self.fail) for what, run in runs.items()
        ]
        self._applying.on_long = self._long_entries.set
        for thread in self._threads:
            thread.start()

    def stop(self, patience_s: float) -> None:
        """Answer all waiting requests, write the remaining steps, and end the threads."""
        self._stopping = True
        ends = (self._sleep.wake, self._writer.stop, self._long_entries.set)
        for end, thread in zip(ends, self._threads, strict=False):
            end()
            if thread.is_alive():  # the system may have refused to start it
                thread.join(patience_s)
        if self._failure is None and self.has_written:
            self._logmanager.close()

    @property
    def has_written(self) -> bool:
        """Whether the writer thread has ended, so that no thread touches the files any longer."""
        return not any(thread.is_alive() for thread in self._threads[1:2])

    def status(self) -> dict[str, object]:
        """Return what `status` prints."""
        with self.core:
            facts = node_facts(self.node.view, self._clock.now_ms())
            facts["disk_waits_ms"] = self.measures.disk_waits_ms
            facts["commits_nothing"] = self.commits_nothing
            facts["applies_nothing"] = self.applies_nothing
            return {**facts, "log_bytes": self._logmanager.log_bytes, "syncs": self.syncs}

    @property
    def commits_nothing(self) -> bool:
        """Whether this server leads, and has committed nothing for long although entries wait. Any
        thread may ask; the answer may be a moment old."""
        return self._stall.is_long(self._clock.now_ms())

    @property
    def applies_nothing(self) -> bool:
        """Whether committed entries have waited too long for the state machine of this server. Any
        thread may ask; the answer may be a moment old."""
        return self.node.view.applies_nothing(self._clock.now_ms())

    def apply_waits_s(self) -> float:
        """Return for how many seconds committed entries have waited without one being applied."""
        return self.node.view.apply_waits_ms(self._clock.now_ms()) / 1000

    def stalled_s(self) -> float:
        """Return for how many seconds this leader has committed nothing although entries wait."""
        with self.core as stepper:
            return stepper.stall.look(self._clock.now_ms()) / 1000

    def waiting(self) -> dict[str, int]:
        """Return the number of waiting batches, by reason, and of steps that wait for the disk."""
        with self.core:
            return {**self._queue.waiting(), "disk": self.writes.count}

    # --- waiting requests, and time --------------------------------------------------------

    def run(self) -> None:
        """Keep time: sleep until the next deadline, then do what is due."""
        while not self._stopping:
            with self.core as stepper:  # a step that has to wake us earlier must see our deadline
                pause_s = stepper.begin_sleep()
            if pause_s > 0:
                self._wakeup.wait(pause_s)
            self._sleep.end()
            if self._applying.lags:
                time.sleep(self._applying.pause_s)  # else no other thread gets the lock
            self._step(lambda stepper: stepper.keep_time())
        with self.core as stepper:
            self._turn_all_away(stepper)
        while self.ready_sinks:
            self._arrivals.flush_replies()

    def _check(self) -> None:
        """Wake the writer for the work that a step added; then serve."""
        if self.writes.waiting:
            self._writer.wake()
        self._serve()

    def _serve(self) -> None:
        """Serve the new requests that need not wait, then send the replies that are ready."""
        arrivals = self._arrivals
        while any(wanted := arrivals.wanted()) and self._take_round(wanted):
            pass
        arrivals.settle()

    def _take_round(self, wanted: Wanted) -> bool:
        """Do a round, unless another thread holds the core: then the owner tries again, so no
        request is forgotten."""
        if self._stopping:
            return False
        stepper = self.core.acquire(0)
        if stepper is None:
            self._sleep.wake()
            return False
        try:
            self._guard(stepper, partial(Stepper.do_round, wanted=wanted))
        finally:
            self.core.release()
        if self.writes.waiting:
            self._writer.wake()
        return True

    def _written(self, durable: Durable | None) -> None:
        """Release the steps that waited for this write; steps queued since then are written next.

        The look at the disk comes last, since answers wait for this thread; but first if the disk
        is low.
        """
        quota = self._quota
        is_disk_low = quota is not None and quota.is_disk_low
        if quota is not None and is_disk_low:
            quota.check_disk()
        with self.core as stepper:
            tasks = self.writes.take_written()
            if self._failure is None:
                self.syncs += durable is not None
                stepper.after_write(tasks, durable)
        self._serve()
        now_s = self._clock.now_s()
        if quota is not None and not is_disk_low and now_s >= self._disk_check_s:
            self._disk_check_s = now_s + DISK_CHECK_S
            quota.check_disk()

    # --- long entries, in a thread of their own --------------------------------------------

    def _apply_offloaded(self) -> None:
        """Apply the entries that take a long time, while other threads step the core."""
        while not self._stopping:
            self._long_entries.wait()
            while not self._stopping and self._applied_offloaded():
                time.sleep(self._applying.pause_s)

    def _applied_offloaded(self) -> bool:
        """Apply some long entries; return whether more wait."""
        with self.offload:
            with self.core as stepper:
                entries = self._guard(stepper, lambda stepper: stepper.applying.begin_offload())
            if not entries:
                return False
            try:
                replies = self._applying.apply_offloaded(entries)
            except Exception as error:
                self.fail(error)
                return False
            with self.core as stepper:
                self._guard(stepper, lambda stepper: stepper.end_offload(entries, replies))
        self._check()
        return self._applying.awaits_offload

    # --- one step, and the end -------------------------------------------------------------

    def fail(self, error: Exception) -> None:
        """Stop the node, because an invariant broke in a helper thread."""
        with self.core as stepper:
            self._fail(stepper, error)

    def _step(self, step: Callable[[Stepper], _Result]) -> _Result | None:
        """Take one step and return its result; then serve what it left to do."""
        with self.core as stepper:
            result = self._guard(stepper, step)
        self._check()
        return result

    def _guard(self, stepper: Stepper, step: Callable[[Stepper], _Result]) -> _Result | None:
        """Take one step. An error is a failure; after that, take no more steps."""
        if self._failure is None:
            try:
                return step(stepper)
            except Exception as error:
                self._fail(stepper, error)
        return None

    def _fail(self, stepper: Stepper, error: Exception) -> None:
        """Stop for good. After a failed write or a broken invariant the state
        here can't be trusted, so no thread steps the core again."""
        self._failure = self._failure or error
        self._stopping = True
        with contextlib.suppress(Exception):  # the first error is reported, not one that follows
            self._writer.abandon()
            self._turn_all_away(stepper)
        self._sleep.wake()
        self._rim.fail(error)

    def _turn_all_away(self, stepper: Stepper) -> None:
        stepper.turn_all_away(failed=self._failure is not None)
        self.watchers.close()
