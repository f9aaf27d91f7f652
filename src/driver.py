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

from raftline.batch import Batch, Home
from raftline.bell import Bell
from raftline.compaction import Compaction
from raftline.delivery import Delivery, Origin
from raftline.desk import STOPPING, Desk
from raftline.facts import node_facts
from raftline.gathering import Gathering
from raftline.handover import Handover
from raftline.logmanager import LogManager
from raftline.membercommands import change_reply, membership_facts
from raftline.protocol import outcome_unknown
from raftline.raft.change import Change
from raftline.raft.effects import Effects, Snapshot
from raftline.raft.messages import Message, PeerError
from raftline.raft.node import Node
from raftline.reading import read_as_leader
from raftline.writer import Work, Writer

GATHER_S = 0.005  # a leader's writes wait for those before them, to share the next write; no longer
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
        self._writer = Writer(logmanager, self._core, self._written, self._fail, now_ms)
        self.compaction = Compaction(node, logmanager, self._core, self._writer)
        self._desk = Desk(hold_ms)
        self._bell = Bell()  # wakes the owner
        self._asleep_until_s = 0.0
        self._naps = False  # it sleeps until those who gather are to be served
        self._leads = False  # as of the last step
        self._write_group, self._read_group = Gathering(), Gathering()
        self._flying: deque[tuple[int, int]] = deque()  # last index and batches of each proposal
        self._proposed_s = 0.0  # when the last of them was made
        self._delivery = Delivery(rim.send)
        self._handover = Handover()
        self._stopping = False
        self._failure: BaseException | None = None
        self._late_look_ms = 0
        self.due: deque[Home] = deque()  # whose replies can leave
        self.syncs = 0

    # --- from any thread --------------------------------------------------------------

    def submit(self, batch: Batch) -> None:
        """Have requests served: by this thread, unless another one is at it, or has them wait to
        share a write or a round with more."""
        batch.asked_ms = now_ms()
        desk = self._desk
        desk.put(batch)
        if batch.is_read:
            self._read_group.came(len(desk.reads))
        else:
            self._write_group.came(len(desk.writes))
        if self._stopping:
            with self._core:
                self._turn_all_away()
        self._look()
        if not self._naps and self._gather_until_s() < self._asleep_until_s:
            self._bell.ring()

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
        self._bell.ring()
        self._threads[0].join(patience_s)
        self._writer.stop()
        self._threads[1].join(patience_s)
        if self._failure is None and not self._threads[1].is_alive():
            self._logmanager.close()

    def members(self) -> dict[str, object]:
        """Return the configuration in use here, as `members` tells it."""
        with self._core:
            state = self.node.state
            return membership_facts(state.configurations, state.commit_index)

    def status(self) -> dict[str, object]:
        """Return what `status` tells."""
        with self._core:
            return {**node_facts(self.node.state, now_ms()), "syncs": self.syncs}

    # --- what waits, and time --------------------------------------------------------------

    def run(self) -> None:
        """Keep time: sleep until the next deadline, and step what is due."""
        while not self._stopping:
            with self._core:  # a step in between that wants to wake us earlier must see this
                pause_s = self._pause_s()
                self._asleep_until_s = time.monotonic() + pause_s
            if pause_s > 0:
                self._bell.wait(pause_s)
            self._asleep_until_s = 0.0
            self._step(self._round)
        with self._core:
            self._turn_all_away()
        self._let_go()

    def _pause_s(self) -> float:
        now = now_ms()
        deadline = min(self.node.wake_at_ms, now + LATE_LOOK_MS)
        if self._desk.held_until_ms is not None:
            deadline = min(deadline, self._desk.held_until_ms)
        gather_s = self._gather_until_s() - time.monotonic()
        pause_s = (deadline - now) / 1000
        self._naps = gather_s < pause_s
        return min(gather_s, pause_s)

    def _gather_until_s(self) -> float:
        """When requests that gather are to be served at the latest, by time.monotonic."""
        until_s = math.inf
        if self._leads:
            if self._desk.writes and not self._writer.is_full:
                is_busy = self._flying or self._writer.is_busy
                until_s = self._proposed_s + GATHER_S if is_busy else self._write_group.ripe_at_s
            if self._desk.reads and not self._reads_fly():
                until_s = min(until_s, self._read_group.ripe_at_s)
        return until_s

    def _look(self) -> None:
        """Serve what is new and need not wait; then send the replies that can leave.

        Where another thread has the core the owner looks again, so nothing is left lying.
        """
        while self._has_work():
            if not self._core.acquire(blocking=False):
                self._bell.ring()
                break
            try:
                self._guard(self._round)
            finally:
                self._core.release()
        self._let_go()

    def _has_work(self) -> bool:
        desk = self._desk
        if desk.writes and not (self._leads and self._writes_gather()):
            return not self._stopping
        if desk.reads and not (self._leads and self._reads_gather()):
            return not self._stopping
        return bool(desk.others) and not self._stopping

    def _let_go(self) -> None:
        """Send the replies that the steps before have completed."""
        while self.due:
            try:
                home = self.due.popleft()
            except IndexError:  # another thread was faster
                return
            home.flush()

    def _round(self) -> None:
        """Do what time asks for, and serve what is new and need not wait."""
        now = now_ms()
        if now >= self.node.wake_at_ms:
            self._carry_out(self.node.pass_time(now), None)
        if now >= self._late_look_ms:
            self._late_look_ms = now + LATE_LOOK_MS
            self._rim.give_up_late(now)
        batches = self._desk.take(
            writes=not (self._leads and self._writes_gather()),
            reads=not (self._leads and self._reads_gather()),
        )
        if batches:
            self._serve(batches, now)

    def _serve(self, batches: list[Batch], now: int) -> None:
        """Propose and confirm as the leader, send on to another, or hold while there is none."""
        node = self.node
        if node.is_leader:
            self._serve_as_leader(batches, now)
        elif node.state.leader is not None:
            reply = self._rim.not_leader(node.state.leader)
            for batch in batches:
                if not batch.asks_leader:
                    batch.answer_all(reply)
            asking = [batch for batch in batches if batch.asks_leader]
            if asking:
                self._carry_out(node.ask_leader(asking, now), None)
        else:
            self._desk.hold(batches, now)

    def _serve_as_leader(self, batches: list[Batch], now: int) -> None:
        if not self.node.takes_proposals:
            self._desk.hold([batch for batch in batches if not batch.is_read], now)
        else:
            writes = [one for one in batches if not one.is_read and one.change is None]
            if writes:
                self._propose(writes, now)
            for batch in batches:
                if batch.change is not None:
                    self._change(batch, batch.change, now)
        for effects in read_as_leader(self.node, batches, now):
            self._carry_out(effects, None)

    def _writes_gather(self) -> bool:
        """Whether writes had better wait, to share one append, one fdatasync and one AppendEntries
        line: until those before are committed, but not for long, and until enough are there."""
        writer = self._writer
        if writer.is_full:
            return True
        if writer.is_busy or self._flying:
            return time.monotonic() - self._proposed_s < GATHER_S
        return not self._write_group.is_ripe(len(self._desk.writes))

    def _reads_gather(self) -> bool:
        """Whether reads had better wait, for the round under way or for more to share the next."""
        return self._reads_fly() or not self._read_group.is_ripe(len(self._desk.reads))

    def _reads_fly(self) -> bool:
        state = self.node.state
        return len(state.read_rounds) >= state.options.read_rounds

    def _change(self, batch: Batch, change: Change, now: int) -> None:
        if self.node.takes_proposals:
            self._carry_out(self.node.change(change, batch, now), None)
        else:  # a step before ended this leadership: look for the new leader
            self._desk.put(batch)
            self._bell.ring()

    def _propose(self, batches: list[Batch], now: int) -> None:
        state = self.node.state
        commands = self._desk.enter(batches, state.log.last_index + 1, state.term)
        self._flying.append((state.log.last_index + len(commands), len(batches)))
        self._proposed_s = time.monotonic()
        self._carry_out(self.node.propose(commands, now), None)

    # --- with `core` held ------------------------------------------------------------------

    def _carry_out(self, effects: Effects, origin: Origin | None) -> None:
        """Carry out one Effects: send, queue for the disk, apply, answer, tell."""
        for message in effects.send:
            self._rim.send(message)
        if effects.wants_disk or (effects.send_after_save and self._writer.is_busy):
            self._writer.add((effects, origin))
        elif effects.send_after_save:
            self._delivery.deliver(effects.send_after_save, origin)
        self._leads = self.node.is_leader
        led_term = self.node.state.term if self._leads else None
        if self._desk.are_pending_beside(led_term):
            # Before anything is applied: what now lies at their indexes may be another's.
            self._desk.give_up_pending(LEADERSHIP_LOST)
            self._flying.clear()
        if effects.install is not None:
            self._logmanager.take_over(effects.install)
        if effects.apply:
            replies = self._logmanager.apply(effects.apply)
            self._desk.answer_applied(replies, effects.apply[0].index, effects.apply[-1].index)
            self._landed(effects.apply[-1].index)
        for ready in effects.reads:
            ready.token.wake()
        if effects.reads:
            self._read_group.answered(len(effects.reads) + len(self._desk.reads))
            self._naps = False
        for batch, outcome, text in effects.settled:
            batch.answer_all(change_reply(batch.commands[0], outcome, text))
        for batch in effects.refused:  # its leadership ended: look for the new leader
            self._desk.put(batch)
        self._tell(effects)

    def _landed(self, index: int) -> None:
        """Take note that entries up to `index` were applied and answered."""
        answered = 0
        while self._flying and self._flying[0][0] <= index:
            answered += self._flying.popleft()[1]
        if answered:
            self._write_group.answered(answered + len(self._desk.writes))
            self._naps = False

    def _tell(self, effects: Effects) -> None:
        """Tell the world, and wake the owner if this step left it something to do."""
        self._rim.report(effects)
        self._handover.look(self.node.state)
        gives_way = self.node.state.transfer is not None
        is_held = self._desk.held_until_ms is not None
        leader_found = is_held and self.node.state.leader is not None and not gives_way
        wake_in_s = (self.node.wake_at_ms - now_ms()) / 1000
        is_early = time.monotonic() + wake_in_s < self._asleep_until_s
        if effects.refused or leader_found or is_early:
            self._bell.ring()

    def _written(self, durable: tuple[int, int] | None) -> None:
        """Let go what waited for this write, and have what gathered meanwhile written next."""
        with self._core:
            work = self._writer.take_written()
            if self._failure is None:
                self._after_write(work, durable)
        self._look()

    def _after_write(self, work: Sequence[Work], durable: tuple[int, int] | None) -> None:
        if durable is not None:
            self.syncs += 1
        for effects, origin in work:
            if effects.send_after_save:
                self._delivery.deliver(effects.send_after_save, origin)
        if durable is not None:
            self._carry_out(self.node.synced(*durable, now_ms()), None)
        if self._desk.writes:
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
        self._bell.ring()
        self._rim.fail(error)

    def _turn_all_away(self) -> None:
        state = self.node.state
        failed = self._failure is not None
        self._desk.turn_all_away("this server failed" if failed else "this server is stopping")
        for batch in state.drop_reads():
            batch.answer_all(STOPPING)
        work, state.work = state.work, None
        if work is not None:
            work.token.answer_all(outcome_unknown("this server is stopping; see: members"))
        self._handover.end()
