"""The steps of the core: the inputs that go in, and how the Effects that come out are carried out.

This module has no threads and no waiting. The driver decides which thread takes a step, and when.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ...logmanager import LogManager
from ...net.protocol.host import Batch, Origin
from ...raft.effects import Effects, ReadReady
from ...raft.inputs import (
    AskLeader,
    Begin,
    ChangeMembers,
    Input,
    NeedParts,
    Propose,
    Read,
    Receive,
    Stop,
    Synced,
    Tick,
)
from ...raft.log import Entry, Snapshot
from ...raft.messages import (
    Answer,
    AppendEntries,
    InstallSnapshot,
    Message,
    PeerError,
    ReadIndex,
    ReadIndexReply,
)
from ...raft.newborn import BeginRefused
from ...raft.node import RawNode
from ...wire.commands.member_commands import change_reply
from ...wire.refusal import (
    DIVERGED,
    NO_QUORUM,
    NOT_BEGUN,
    REMOVED,
    STOPPING,
    no_leader,
    outcome_unknown,
)
from ..clock import SYSTEM, Clock, OwnerSleep
from ..watches.watch_registry import WatchRegistry
from .applying import LEADERSHIP_LOST, Applying
from .arrivals import Arrivals, Wanted
from .granted_leases import GrantedLeases
from .handover import Handover
from .parts import KnownParts
from .queue import RequestQueue
from .quota import Quota
from .stall import CommitStall
from .writer import DiskTask, Durable, WriteQueue

LATE_CHECK_MS = 1000  # between two checks for requests that were not answered in time


class MessageDelivery:
    """Sends the messages of an Effects; messages that must wait for the disk go to the writer.

    An answer goes back on the connection on which its question arrived. Other messages go to the
    peers. The caller holds the driver's `core` lock.
    """

    def __init__(self, send: Callable[[Message], None], writes: WriteQueue) -> None:
        self._send = send
        self._writes = writes
        self._askers: dict[str, Origin | None] = {}  # where a follower's last ReadIndex came from

    def asked(self, message: ReadIndex, origin: Origin | None) -> None:
        """Remember who sent a ReadIndex: a later step may answer it."""
        self._askers[message.sender] = origin

    def dispatch(self, effects: Effects, origin: Origin | None) -> None:
        """Send the messages that may be sent at once; queue the writes, and the messages that must
        follow them. `origin` is the source of the message that is answered.

        A step that writes nothing is dropped, with its messages, if too many wait already: a disk
        that hangs must not fill the memory with answers, and Raft tolerates the loss of messages.
        """
        writes = self._writes
        if effects.send:
            self.deliver(effects.send, origin)
        if effects.send_past_entries:
            if writes.holds_promise:
                effects.send_after_save += effects.send_past_entries
            else:
                self.deliver(effects.send_past_entries, origin)
        if effects.wants_disk:
            writes.add((effects, origin))
        elif effects.send_after_save:
            if not writes.is_busy:
                self.deliver(effects.send_after_save, origin)
            elif not writes.is_full:
                writes.add((effects, origin))

    def deliver(self, messages: Sequence[Message], origin: Origin | None) -> None:
        """Send messages; `origin` is the source of the message that they answer."""
        answers = []
        for message in messages:
            if not isinstance(message, Answer):
                self._send(message)
            elif isinstance(message, ReadIndexReply):  # `origin` completed the quorum
                asker = self._askers.get(message.to)
                if asker is not None:
                    asker.answer([message])
            else:
                answers.append(message)
        if answers and origin is not None:
            origin.answer(answers)


class NodeRim(Protocol):
    """The world around a node's core and its driver."""

    def send(self, message: Message) -> None: ...
    def not_leader(self, leader: str) -> str: ...
    def report(self, effects: Effects) -> None: ...
    def wrote(self, arrived: Snapshot | None) -> None: ...
    def applied(self) -> None: ...
    def give_up_late(self, now: int) -> None: ...
    def fail(self, error: BaseException) -> None: ...


class Stepper:
    """Steps the core and carries out its Effects.

    A driver keeps it in `core`, so only the thread that holds that lock can call it. Parts that any
    thread may use is in `arrivals`.
    """

    def __init__(
        self,
        node: RawNode,
        logmanager: LogManager,
        writes: WriteQueue,
        queue: RequestQueue,
        rim: NodeRim,
        owner_sleep: OwnerSleep,
        on_failure: Callable[[Exception], None],
        clock: Clock = SYSTEM,
    ) -> None:
        """`on_failure` stops the node."""
        self._node = node
        self._logmanager = logmanager
        self._writes = writes
        self._queue = queue
        self._rim = rim
        self._sleep = owner_sleep
        self._clock, self._now_s = clock, clock.reader_s()
        self.watchers = WatchRegistry(logmanager, owner_sleep.wake, clock)
        self.arrivals = Arrivals(
            node.view, queue, writes, self.watchers, owner_sleep, clock, on_failure
        )
        self._batching = self.arrivals.batching
        self._delivery = MessageDelivery(rim.send, writes)
        self.applying = Applying(
            node, logmanager, self.watchers, queue, self._batching, self._applied, clock
        )
        self._handover = Handover(node, rim.not_leader)
        self._leasing = GrantedLeases(node, logmanager.store)
        # Reads that were confirmed while entries were applied without `core`, each with the term
        # that this node led.
        self._reads_kept: list[tuple[ReadReady, int]] = []
        self.stall = CommitStall(node.view)
        self._led_term = 0  # the term that this server led after the last step; 0: none
        self._late_check_ms = 0
        self.quota: Quota | None = None
        self.parts: KnownParts | None = None

    # --- rounds: what is due, and how long the owner sleeps -----------------------------------

    def do_round(self, wanted: Wanted | None = None) -> None:
        """Do what is due now, and serve the requests that need not wait: those that the caller
        found to be `wanted`, or those that are now."""
        now = self._clock.now_ms()
        self.pass_time(now)
        if now >= self._late_check_ms:
            self._late_check_ms = now + LATE_CHECK_MS
            self.stall.look(now)
            self._rim.give_up_late(now)
            self._queue.drop_answered()
            self.watchers.look(self._node.view)
        queue = self._queue
        queue.let_long_go()
        if queue.writes or queue.reads or queue.others or queue.held:
            self._serve(wanted or self.arrivals.wanted())
            queue.let_long_go()  # in place of writes that were refused
        if queue.held and queue.held[0].hold_until_ms < self._sleep.until_ms:
            self._sleep.wake()  # that batch is refused at that time

    def keep_time(self) -> None:
        """Do a round, then apply a slice of the entries that earlier steps left."""
        self.do_round()
        if self.applying.lags:
            self.apply_slice()

    def after_write(self, tasks: Sequence[DiskTask], durable: Durable | None) -> None:
        """Release the steps that waited for a write; steps queued since then are written next."""
        self.written(tasks, durable)
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
        deadline = min(self.wake_at_ms, now + LATE_CHECK_MS)
        held_until_ms = self._queue.held_until_ms
        if held_until_ms is not None:
            deadline = min(deadline, held_until_ms)
        self._sleep.until_ms = deadline
        now_s = self._now_s()
        gather_s = min(self.arrivals.next_check_s(), max(now_s, self._queue.long_due_s)) - now_s
        pause_s = 0.0 if self.applying.lags else (deadline - now) / 1000
        self._sleep.is_for_a_group = gather_s < pause_s
        return min(gather_s, pause_s)

    # --- inputs of the core ----------------------------------------------------------------------

    def receive_all(self, messages: Sequence[Message], origin: Origin | None) -> list[str]:
        """Step messages of a peer; return a complaint for each refused message.

        While too much waits for the disk, entries and pieces of a snapshot are dropped, as if the
        network had lost them: their sender sends them again.
        """
        complaints = []
        for message in messages:
            if isinstance(message, AppendEntries | InstallSnapshot):
                is_for_disk = isinstance(message, InstallSnapshot) or bool(message.entries)
                if is_for_disk and self._writes.is_full:
                    continue
            elif isinstance(message, ReadIndex):
                self._delivery.asked(message, origin)
            try:
                self.carry_out(self._node.step(Receive(message), self._clock.now_ms()), origin)
            except PeerError as error:
                if self._node.observer is not None:
                    self._node.observer.refused(message, str(error))
                complaints.append(str(error))
        return complaints

    def transfer(self, batch: Batch, to: str | None) -> None:
        """Begin a leadership transfer; `batch` is answered when it ends."""
        self.carry_out(self._handover.begin(batch, to, self._clock.now_ms()))

    def begin_without(self, names: Sequence[str]) -> str:
        """Take an operator's claim that these members never ran; return the reply."""
        name = self._node.view.name
        try:
            self.take(Begin(names))
        except BeginRefused as refusal:
            return NOT_BEGUN(refusal)
        if not names:
            return f"BEGIN response: {name} begins a cluster of one"
        return f"BEGIN response: {name} no longer waits for {' and '.join(names)}"

    def take(self, event: Input) -> None:
        """Step another kind of input into the core."""
        self.carry_out(self._node.step(event, self._clock.now_ms()))

    def pass_time(self, now: int) -> None:
        """Do what is due at this time."""
        if now >= self._node.wake_at_ms:
            self.carry_out(self._node.step(Tick(), now))
        leasing = self._leasing
        if self.applying.is_offloaded or not leasing.is_in_use:
            return
        if now >= leasing.wake_at_ms and (expiry := leasing.expiry(now)):
            self.carry_out(self._node.step(Propose([expiry]), now))

    @property
    def wake_at_ms(self) -> int:
        """The time at which `pass_time` has something to do."""
        if self.applying.is_offloaded or not self._leasing.is_in_use:
            return self._node.wake_at_ms
        return min(self._node.wake_at_ms, self._leasing.wake_at_ms)

    def written(self, tasks: Sequence[DiskTask], durable: Durable | None) -> None:
        """Send the messages that waited for these writes, and report `durable` to the core."""
        for effects, origin in tasks:
            if effects.send_after_save:
                self._delivery.deliver(effects.send_after_save, origin)
        if self.applying.follows_a_write:
            self._has_applied(answers=self.applying.apply_next())
        if durable is not None:
            self.carry_out(self._node.step(Synced(*durable), self._clock.now_ms()))

    # --- applying --------------------------------------------------------------------------------

    def apply_slice(self) -> None:
        """Apply the next slice of the entries that earlier steps left; answer their requests."""
        self._has_applied(answers=self.applying.apply_next())

    def end_offload(self, entries: Sequence[Entry], replies: list[str]) -> None:
        """Answer the requests of these entries, which were applied without `core`. Then catch up:
        in the meantime leases did not expire, and reads waited."""
        answers = self.applying.end_offload(entries, replies)
        waiting, self._reads_kept = self._reads_kept, []
        led_term = self._led_term
        for read, term in waiting:
            if not read.token.reading.by_clock or term == led_term:
                self._serve_reads([read])
            elif not read.token.is_answered:  # that leadership ended, and its clock of leases
                self._queue.put(read.token)
        if waiting:
            self._sleep.wake()
        self._has_applied(answers=answers)

    def _has_applied(self, *, answers: bool) -> None:
        if answers:
            self._sleep.is_for_a_group = False  # the wait for the next group may be shorter
        is_early = self._leasing.is_in_use and self._leasing.wake_at_ms < self._sleep.until_ms
        if is_early or self.applying.lags:
            self._sleep.wake()

    # --- requests --------------------------------------------------------------------------------

    def _serve(self, wanted: Wanted) -> None:
        """Serve held and new requests, except requests that are still being batched.

        A leader proposes writes and confirms reads. Another member redirects to the leader, or
        holds the requests while there is none. The clock is read after the queue: a lease that was
        valid before a read arrived, and has run out since, proves nothing about that read.
        """
        writes, reads, _ = wanted
        batches = self._queue.take(writes=writes, reads=reads)
        if not batches:
            return
        now, view = self._clock.now_ms(), self._node.view
        if view.is_leader:
            self._serve_as_leader(batches, now)
        elif view.leader is not None:
            reply = self._rim.not_leader(view.leader)
            for batch in batches:
                if not batch.asks_leader:
                    batch.answer_all(reply)
            asking = [batch for batch in batches if batch.asks_leader]
            if asking:
                self.carry_out(self._node.step(AskLeader(asking), now))
        elif view.removed_by and not view.is_member:
            for batch in batches:
                batch.answer_all(REMOVED)
        else:
            self._queue.hold(batches, now, no_leader(view.no_leader_because, view.no_leader_for))

    def _serve_as_leader(self, batches: list[Batch], now: int) -> None:
        writes: list[Batch] = []
        leased: list[Batch] = []
        by_round: list[Batch] = []
        changes: list[Batch] = []
        for batch in batches:
            if batch.is_read:
                (leased if batch.reading.by_lease else by_round).append(batch)
            else:
                (writes if batch.change is None else changes).append(batch)
        if not self._node.takes_proposals:
            self._queue.hold(writes + changes, now)
        else:
            if writes:
                self._serve_writes(self._queue.leave_writes(writes), now)
            for batch in changes:
                self._change(batch, now)
        queue = self._queue
        if leased and (leased := queue.leave_reads(leased, queue.others)):
            self.carry_out(self._node.step(Read(leased, by_lease=True), now))
        if by_round and (by_round := queue.leave_reads(by_round, queue.reads)):
            self.carry_out(self._node.step(Read(by_round), now))

    def _serve_writes(self, writes: list[Batch], now: int) -> None:
        """Propose writes. Refuse all of them while nothing is committed, otherwise those that a
        member could not apply, or for which there is no room. The log names first what they
        need."""
        if self.stall.is_long(now):
            for batch in writes:
                batch.answer_all(NO_QUORUM(self._node.view.name))
            return
        if self.parts is not None:
            writes, added = self.parts.admit(writes)
            if added:
                self.carry_out(self._node.step(NeedParts(added), now))
        if writes and self.quota is not None:
            writes = self.quota.admit(writes)
        if writes:
            self._propose(writes, now)

    def _propose(self, batches: list[Batch], now: int) -> None:
        last_index, term = self._node.view.log.last_index, self._node.view.term
        commands = self._queue.enter(batches, last_index + 1, term)
        last_index += len(commands)
        self._batching.proposed(last_index, len(batches), self._now_s())
        self.carry_out(self._node.step(Propose(commands), now))

    def _change(self, batch: Batch, now: int) -> None:
        if batch.change is not None and self._node.takes_proposals:
            self.carry_out(self._node.step(ChangeMembers(batch.change, batch), now))
        else:  # an earlier step ended this leadership: look for the new leader
            self._queue.put(batch)
            self._sleep.wake()

    # --- carrying out its Effects --------------------------------------------------------------

    def carry_out(self, effects: Effects, origin: Origin | None = None) -> None:
        """Carry out one Effects: send, queue for the disk, answer, apply, report. Only the parts
        that have something to do are called."""
        has_sent = effects.send or effects.send_after_save or effects.send_past_entries
        if has_sent or effects.wants_disk:
            self._delivery.dispatch(effects, origin)
        led_term = self._node.view.led_term
        if led_term != self._led_term:
            self._lead(led_term, effects)
        if effects.differs:
            self._logmanager.refuse_reads(DIVERGED)
        answers = effects.reads or effects.settled or effects.refused
        if answers or led_term != self._leasing.term:
            self._answer(effects)
        applying = self.applying
        has_work = effects.apply or effects.install is not None or applying.follows_a_write
        if has_work and applying.take(effects, leads=led_term > 0):
            self._sleep.is_for_a_group = False  # the wait for the next group may be shorter
        is_seen = effects.append or effects.apply or effects.save or effects.notes
        if has_sent or is_seen or effects.members_changed:
            self._rim.report(effects)  # a new leader comes with a note, a new term with a save
        if self._handover.waiting:
            self._handover.look()
        sleep = self._sleep
        is_early = self._node.wake_at_ms < sleep.until_ms
        if not is_early and self._leasing.is_in_use:
            is_early = self.wake_at_ms < sleep.until_ms
        if is_early or effects.refused or applying.lags or (self._queue.held and self._may_serve()):
            sleep.wake()

    def _may_serve(self) -> bool:
        """Whether there is a leader for the requests that wait for one."""
        view = self._node.view
        return view.leader is not None and view.transfer is None

    def _lead(self, term: int, effects: Effects) -> None:
        """Begin a leadership, or end one (term 0)."""
        self._led_term = term
        self._batching.leads = term > 0
        if self._queue.are_pending_beside(term or None):
            # Do this before applying anything: the entries at the indexes of these requests may
            # have been replaced. Entries that earlier steps handed out are still theirs, and are
            # answered once they are applied.
            last = effects.apply[0].index - 1 if effects.apply else self._node.view.applying
            self._queue.give_up_pending(LEADERSHIP_LOST, after=last)
            self._batching.lost_leadership()

    def _answer(self, effects: Effects) -> None:
        """Answer the requests that this step settles, except those whose entries it applies."""
        if self._led_term != self._leasing.term and not self.applying.is_offloaded:
            self._leasing.stepped(self._led_term, self._clock.now_ms)
        if effects.reads:
            self._serve_reads(effects.reads)
        for batch, outcome, text in effects.settled:
            batch.answer_all(change_reply(batch.commands[0], outcome, text))
        for batch in effects.refused:  # this leadership ended: look for the new leader
            self._queue.put(batch)

    def _applied(self, reads: list[ReadReady]) -> None:
        """Report that entries were applied, or a snapshot was installed, and serve `reads`, which
        waited for that."""
        self._rim.applied()
        if self._led_term or self._leasing.term:
            self._leasing.stepped(self._led_term, self._clock.now_ms)
        if reads:
            self._serve_reads(reads)

    def _serve_reads(self, reads: Sequence[ReadReady]) -> None:
        """Serve confirmed reads; answer reads about leases by this leader's clock of leases.

        The core gives such reads back when a leadership ends. All reads wait while entries are
        applied without `core`.
        """
        if self.applying.is_offloaded:
            self._reads_kept += [(read, self._led_term) for read in reads]
            return
        confirmed: list[Batch] = []
        for batch, _ in reads:
            if not batch.reading.by_clock:
                batch.reader = self._logmanager
                confirmed.append(batch)
            elif not batch.is_answered:  # otherwise it was given up
                # The time is read after the round, so after the request.
                batch.replies = self._leasing.answers(batch.commands, self._clock.now_ms())
                batch.wake()
        if confirmed:
            self._queue.confirmed(confirmed)
        if reads:
            queued = len(self._queue.reads)
            self._batching.answered(len(reads), queued, self._now_s())
            self._sleep.is_for_a_group = False

    def turn_all_away(self, *, failed: bool) -> None:
        """Answer all waiting requests, since this server stops."""
        self._queue.turn_all_away("this server failed" if failed else "this server is stopping")
        for (batch, _), _ in self._reads_kept:
            batch.answer_all(STOPPING)
        self._reads_kept.clear()
        effects = self._node.step(Stop(), self._clock.now_ms())
        for batch in effects.refused:
            batch.answer_all(STOPPING)
        for batch, outcome, _ in effects.settled:
            unknown = outcome_unknown("this server is stopping; see: members")
            batch.answer_all(unknown if outcome == "unknown" else STOPPING)
        self._handover.end()
