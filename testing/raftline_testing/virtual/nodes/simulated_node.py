"""One simulated node: the shipped driver code, on a virtual clock, disk and network.

The stepper, its rounds, the queues, applying and watches come from a real node. This module
replaces the threads: when the owner wakes, when a write ends, and which node may be paused or die
meanwhile.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from math import ceil
from random import Random
from typing import Protocol

from raftline.common.process.wakeup import no_pause
from raftline.net.peers.build_exchange import Foreigners
from raftline.net.protocol.host import Batch, ReplySink
from raftline.node.clock import OwnerSleep
from raftline.node.loop.applying import SLICE_S
from raftline.node.loop.granted_leases import GrantedLeases
from raftline.node.loop.measures import Measures, node_facts
from raftline.node.loop.queue import RequestQueue
from raftline.node.loop.stepper import Stepper
from raftline.node.loop.writer import DiskTask, WriteQueue
from raftline.raft.change import Change
from raftline.raft.effects import Effects
from raftline.raft.identity import is_foreign
from raftline.raft.inputs import Applied, AskLeader, Input, Propose, Read, Transfer
from raftline.raft.log import Entry, Snapshot
from raftline.raft.messages import InstallSnapshot, Message
from raftline.raft.node import RawNode, StepObserver, node_from_disk
from raftline.raft.node_view import NodeView
from raftline.raft.state import Options
from raftline.storage.disk import DiskFailed, StateRefused, StorageError
from raftline.storage.snapshot_lines import MachineState
from raftline.storage.sums import is_due
from raftline.wire.limits import REQUESTS_TOGETHER, WRITES_TOGETHER
from raftline.wire.refusal import OUTCOME_UNKNOWN, not_leader

from ...files.faulty_folder import Died
from ...invariants import InvariantError, Invariants
from ...orders import Order, OrderRefused, obey
from ..collecting import Collector, Where
from ..world.virtual_clock import Clock
from ..world.world import World
from .jobs_machine import machines
from .manager import MachineFailed, Manager
from .monitor import Monitor
from .node_connections import ServingNode, SimulatedConnection
from .node_events import Watching
from .pairs_lock import PairsLock, WithoutCore
from .promptness import Promptness
from .request_interface import Asked, Request
from .requests import Requests
from .simulated_disk import Disk
from .snapshot_jobs import Snapshots, state_summed

READ_RUNS_MOST = WRITES_TOGETHER // REQUESTS_TOGETHER  # runs of full batches
MayBegin = Callable[[RawNode, Change], bool]
Settle = Callable[[str, str], None]  # receives the outcome of a change of members


def cluster_of(name: str, incarnation: int, epoch: str = "") -> str:
    """Return the identity that a starting node draws for a cluster without one."""
    return sha256(f"{epoch}{name} {incarnation}".encode()).hexdigest()[:16]


class NodePlan(Protocol):
    """The part of a plan that a node needs: drawn (world/plan.py), or scripted (script.py)."""

    @property
    def disk_ms(self) -> int: ...  # the longest time that a write takes
    @property
    def compact_bytes(self) -> int: ...  # of a log that is not rewritten yet
    @property
    def pause_ms(self) -> int: ...  # the longest, after each piece of a snapshot
    @property
    def queued_bytes(self) -> int: ...  # of waiting requests
    @property
    def long_ms(self) -> int: ...  # time to apply a long entry
    @property
    def said_new(self) -> float: ...  # share of first starts that an operator declares as first
    @property
    def slow_entries(self) -> bool: ...  # each takes longer than a slice of applying
    @property
    def hold_ms(self) -> int: ...  # how long a request waits for a leader
    def clock_of(self, name: str, chance: Random) -> tuple[int, int]: ...
    def options_of_a_start(self, chance: Random) -> Options: ...
    def timeouts_of(self, name: str, chance: Random, timeout_ms: int) -> Callable[[], int]: ...


class Answers:
    """The connection of a peer, as messages see it: answers go back over the network."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send

    def answer(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._send(message)


class Observer:
    """The observer of each step of a node, before its Effects are carried out."""

    def __init__(
        self,
        node: RawNode,
        monitor: Monitor,
        invariants: Invariants,
        requests: Requests,
        picture: StepObserver | None,
    ) -> None:
        self._node = node
        self._invariants = invariants
        self._monitor = monitor
        self._requests = requests
        self._picture = picture
        self.next: StepObserver | None = None  # the schedule's own observer

    def stepped(self, event: object, effects: Effects) -> None:
        if self._picture is not None:
            self._picture.stepped(event, effects)
        if self.next is not None:
            self.next.stepped(event, effects)
        node = self._node
        if isinstance(event, Applied):
            if not _has_reads_alone(effects):
                raise InvariantError(f"{node.view.name} asks for more where it has applied")
        else:
            if effects.notes or effects.refused or isinstance(event, Propose):
                self._monitor.stepped(node, event, effects)
            self._invariants.stepped(node, event, effects)
        reading = self._requests.reading
        if isinstance(event, (Read, AskLeader)):
            self._bound_reads(event.tokens)
            reading.update(event.tokens)
        if effects.reads or effects.refused:
            self._answered(effects, reading)
        state = node._state
        leading, forwarded = state.leading, state.forwarded_reads
        leads_reads = leading is not None and (leading.reads_waiting or leading.read_rounds)
        if reading or leads_reads or forwarded.asked or forwarded.waiting or state.confirmed_reads:
            self._invariants.keeps_reads(state, reading)

    def _bound_reads(self, batches: Sequence[Batch]) -> None:
        """Check that the reads of one step stay within the bound of writes, which connections share
        in turn."""
        if len(batches) <= READ_RUNS_MOST:
            return
        count = sum([len(batch.commands) for batch in batches])
        if count > WRITES_TOGETHER + REQUESTS_TOGETHER:
            raise InvariantError(f"{self._node.view.name} serves {count} reads in one step")

    def _answered(self, effects: Effects, reading: set[Batch]) -> None:
        served = [ready.token for ready in effects.reads]
        self._requests.note_reads_amid_offload(served)
        for batch in (*served, *effects.refused):
            if batch not in reading:
                raise InvariantError(f"{self._node.view.name} answers a read a second time")
            reading.remove(batch)

    def refused(self, message: Message, why: str) -> None:
        for one in (self._picture, self.next):
            if one is not None:
                one.refused(message, why)
        self._monitor.refused(self._node, message, why)


def _has_reads_alone(effects: Effects) -> bool:
    """Whether the only work is to serve reads."""
    return not (
        effects.messages()
        or effects.apply
        or effects.refused
        or effects.settled
        or effects.wants_disk
    )


class Host(ServingNode):
    """A node that can be paused, killed and started again. Its clock runs at its own pace.

    It is the `NodeRim` of its stepper, and acts for a driver's threads.
    """

    def __init__(
        self,
        world: World,
        plan: NodePlan,
        name: str,
        members: Mapping[str, str],
        invariants: Invariants,
        send: Callable[[Message], bool],
        disk: Disk,
    ) -> None:
        self.name = name
        self.node: RawNode | None = None
        self.collector: Collector | None = None  # of a picture
        self.view: NodeView | None = None  # the node's state, or its last state before it died
        self.writes: WriteQueue
        self.measures: Measures
        self.observing: Observer  # of each step of this start
        self.watching: Watching | None = None  # the taker of all nodes' events
        self.watch_leases: Callable[[Manager], None] = lambda manager: None
        self.watch_renewals: Callable[[Host, str], None] = lambda host, reply: None
        self.disk = disk
        self.paused = False
        self.disk_ms = plan.disk_ms
        self.slow_ms: Callable[[], int] | None = None  # the time of each write, if it is slow
        self.long_ms = plan.long_ms
        self.make_node: Callable[..., RawNode] = (
            node_from_disk  # or another core (course/raftline_course/grading)
        )
        self._world = world
        self._plan = plan
        self._members = members
        self._invariants = invariants
        self.network_send = send
        self.is_at_floor = True  # it gives its log no identity
        # Called when it has started, stopped, continued, or learned its identity.
        self.on_change: Callable[[], None] = lambda: None
        self.epoch = ""  # differs for an earlier cluster
        self.was_born_with_others = len(members) > 1
        self.is_joiner = False  # from its next start on, it knows no members and asks to be added
        self.may_be_said_new = bool(members)  # until it loses a file: it never ran before
        self._incarnation = 1  # anything of an earlier one is void
        self._backlog: list[Callable[[], None]] = []  # arrived while paused
        self._acts: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()  # done next
        self._acts_now = False
        self._is_prompt = not plan.slow_entries  # their time passes only for the node
        self.pairs_lock = PairsLock(name)
        self.without_core = WithoutCore(self.pairs_lock)  # used while one of its threads works
        # actions that wait for the end of a long entry
        self._after_long: list[Callable[[], None]] = []
        self.writer_pause_ms: Callable[[], int] = int  # drawn each time
        self._writer_sleeps = False
        self._between_writes: deque[tuple[Callable[[], bool], Callable[[bool], None]]] = deque()
        self._promptness: Promptness
        self._sleep: OwnerSleep
        start_ms, permille = plan.clock_of(name, world.random)
        self.clock = Clock(world, name, start_ms, permille, self._time_may_be_up)
        self.requests = Requests(
            world,
            self,
            invariants,
            lambda: self.manager.applied.index,
            self._leads_on,
            lambda reply: self.watch_renewals(self, reply),
        )
        self.requests.doors.foreigners = Foreigners(
            name, lambda: self.cluster, self._say, self.clock.now_s
        )
        self.snapshots = Snapshots(world, plan.compact_bytes, plan.pause_ms, self)
        self.sums_in_a_job = False
        self.may_differ = False  # a fault gave it another state
        self._monitor = Monitor(world, name, invariants)
        self._answers = Answers(self.post)

    @property
    def incarnation(self) -> int:
        """The number of this start, or of the next one if the node is down."""
        return self._incarnation

    @property
    def is_applying_offloaded(self) -> bool:
        """Whether a long entry is being applied."""
        return self.pairs_lock.is_held

    # --- inputs -----------------------------------------------------------------------------

    def take(self, taken: Input) -> None:
        """Take an input: the end of a connection, a transfer."""
        self._when_up(self._taken, taken)

    def _taken(self, node: RawNode, taken: Input) -> None:
        if isinstance(taken, Transfer):
            self._transfer(taken.to)
        else:
            self.step(taken)

    def order(self, order: Order) -> None:
        """Make the node obey an order, unless it refuses or runs another core."""
        self._when_up(self._obey, order)

    def _obey(self, node: RawNode, order: Order) -> None:
        if isinstance(node, RawNode):
            with contextlib.suppress(OrderRefused):
                effects = obey(node, order, self.clock.now_ms())
                self._with_core(lambda: self.stepper.carry_out(effects))

    @property
    def cluster(self) -> str:
        """The identity that it announces on its connections."""
        return self.view.cluster if self.view is not None else ""

    def hear(self, message: Message, cluster: str = "") -> None:
        """Receive a message on a connection whose other end announced this identity. As on a real
        connection, messages from another cluster are ignored."""
        if self.node is None or self._refuses(message.sender, cluster):
            self._lose(message, "receiver")
            return
        if self.paused:
            self._when_up(self._receive, message)
        else:
            self._alive(self._incarnation, self._receive, message)

    def _refuses(self, sender: str, cluster: str) -> bool:
        is_refused = is_foreign(self.cluster, cluster)  # nearly never
        self._world.counts["messages of other clusters"] += is_refused
        return is_refused and self._names(sender, cluster, dials=True)

    def answered_by(self, peer: str, cluster: str) -> bool:
        """Return whether the answer to this node's announcement shows another cluster."""
        return is_foreign(self.cluster, cluster) and self._names(peer, cluster, dials=False)

    def _names(self, name: str, cluster: str, *, dials: bool) -> bool:
        place = self._members.get(name, "nowhere")
        return self.foreigners.refuses(name, cluster, place, dials=dials)

    @property
    def foreigners(self) -> Foreigners:
        """The servers of other clusters that appeared under members' names."""
        return self.requests.doors.foreigners

    def _say(self, text: str) -> None:
        self._world.tell("note", f"{self.name}: {text}")

    def hear_now(self, message: Message, cluster: str) -> None:
        """Receive a message as a connection's thread, which doesn't hold `core`; its other end
        announced this identity."""
        if self.node is not None and not self._refuses(message.sender, cluster):
            self._with_core(partial(self._receive, self.node, message))

    def when_up(self, act: Callable[[], object]) -> None:
        """Run an action of one of the node's threads; if it is paused, when it resumes."""
        self._when_up(lambda _: act())

    def _receive(self, node: RawNode, message: Message) -> None:
        self._world.tell("arrival", message)
        if not self._invariants.hears(node, message):
            complaint = f"{message.sender} is not a peer of {self.name}"
        else:
            self._invariants.taking(node, message)
            complaint = "".join(self.stepper.receive_all([message], self._answers))
        if complaint:
            self._world.counts["messages of non-members"] += 1
            self._world.tell("answer", f"{message.sender} <- {self.name}@Sorry, {complaint}")

    def _transfer(self, to: str | None) -> None:
        batch = Batch(["transfer"], is_read=False)
        self.stepper.transfer(batch, to)
        transfer = self.view.transfer if self.view is not None else None
        self._promptness.asked_to_transfer(batch, to if transfer is None else transfer.to)
        if batch.is_answered and batch.replies[0].startswith("Sorry, "):
            self._world.tell("answer", f"{self.name}: {batch.replies[0]}")

    def step(self, taken: Input) -> None:
        """Pass an input to the core, and carry out its Effects."""
        self._with_core(lambda: self.stepper.take(taken))

    def _with_core(self, act: Callable[[], None]) -> None:
        lock = self.pairs_lock
        waits, lock.may_be_waited_for = lock.may_be_waited_for, False
        act()
        lock.may_be_waited_for = waits

    def change(self, change: Change, settle: Settle, may_begin: MayBegin) -> None:
        """Ask this node to change the members; `may_begin` is called right before."""

        def begin(node: RawNode) -> None:
            if node.takes_proposals and may_begin(node, change):
                self._world.tell("act", f"> {self.name} is asked to {change}")
                self._world.counts["changes asked for"] += 1
                asked = ChangeAsked(change, settle, self.stepper.arrivals.ready_sinks.append)
                self._promptness.asked_to_change(asked.batch)
                self.stepper.arrivals.put(asked.batch)

        self._when_up(begin)

    def submit(self, request: Request) -> None:
        """Take a client's request; a node that is down refuses the connection."""
        if self.node is None:
            request.client.refused(request, None)
        else:
            self._when_up(self._asked, request)

    def _asked(self, node: RawNode, request: Request) -> None:
        self.requests.ask(request)

    def status(self) -> None:
        """Request the status, and check the applied index in it. A foreign core is not asked: the
        status has facts that it lacks.

        Raises:
            AssertionError: it reports a wrong last applied entry.
        """
        if self.node is not None and not self.paused and self.make_node is node_from_disk:
            reported = node_facts(self.node.view, self.clock.now_ms())["last_applied"]
            assert reported == self.manager.applied.index, (
                f"{self.name} reports {reported} as applied"
            )

    def _when_up(self, act: Callable[..., object], *values: object) -> None:
        """Pass an input to the node; if it is paused, when it resumes."""
        incarnation = self._incarnation
        if self.paused:
            self._backlog.append(lambda: self._alive(incarnation, act, *values))
        else:
            self._alive(incarnation, act, *values)

    def _alive(self, incarnation: int, act: Callable[..., object], *values: object) -> None:
        """Run an action as one of the node's threads, unless the node died since: follow-up
        actions, for example after an instant write, run after it. Then serve the waiting work. The
        disk may make the node die of this."""
        if self.node is None or incarnation != self._incarnation:
            return
        if self._acts_now:
            self._acts.append((act, values))
            return
        self._acts_now, acts = True, self._acts
        self._world.acting = self.name
        try:
            act(self.node, *values)
            self._look()
            while acts:
                act, values = acts.popleft()
                act(self.node, *values)
                self._look()
        except (Died, DiskFailed) as error:
            self._world.tell("act", f"> {self.name} dies at its disk: {type(error).__name__}")
            self._world.counts["deaths at the disk"] += 1
            if isinstance(error, DiskFailed):
                self.disk.judge_stop(error)
            self.stop(power_cut=isinstance(error, Died) and self._world.chance(0.5))
            self._world.after(self._world.random.randint(10, 500), self.start)
        except MachineFailed:
            self._world.tell("act", f"> {self.name} stops: it can't execute an entry")
            self._world.counts["machines that raised"] += 1
            self.stop(power_cut=False)
            self._world.after(self._world.random.randint(10, 500), self.start)
        finally:
            self._acts_now = False
            acts.clear()

    def _look(self) -> None:
        requests = self.requests
        self._serve()
        while (requests.ready or requests.waiting) and requests.deliver():
            self._serve()
        if requests.reads_amid_offload:
            requests.look_at_reads_amid_offload()
        if self._is_prompt:
            queue, promptness = self.queue, self._promptness
            is_left = queue.writes or queue.reads or queue.others or queue.held
            if is_left or promptness.first_in:
                promptness.look(
                    is_full=self.writes.is_full or self.stepper.arrivals.are_many_under_way()
                )

    def _serve(self) -> None:
        arrivals = self.stepper.arrivals
        while any(wanted := arrivals.wanted()):
            self.stepper.do_round(wanted)
        arrivals.settle()

    def later(self, delay_ms: int, act: Callable[[RawNode], None]) -> None:
        """Pass an input to this incarnation of the node later."""
        self._world.after(delay_ms, self._in_incarnation, self._incarnation, act)

    def beside(self, delay_ms: int, tie: float, act: Callable[..., object], *of: object) -> None:
        """Run an action of a connection of this incarnation later; see `World.beside`."""
        incarnation = self._incarnation
        self._world.beside(delay_ms, tie, self._in_incarnation, incarnation, lambda _: act(*of))

    def within(self, longest_ms: int, act: Callable[[RawNode], None]) -> None:
        """Pass an input to this incarnation of the node within this time."""
        self._world.within(longest_ms, self._in_incarnation, self._incarnation, act)

    def _in_incarnation(self, incarnation: int, act: Callable[[RawNode], None]) -> None:
        if incarnation == self._incarnation:
            if self.paused:
                self._when_up(act)
            else:
                self._alive(incarnation, act)

    # --- the stepper's calls (stepper.NodeRim) --------------------------------------------------

    def send(self, message: Message) -> None:
        """Send a message to its peer; a piece of a snapshot once it is read."""
        if isinstance(message, InstallSnapshot):
            self.snapshots.work.send(message)
        else:
            self.post(message)

    def post(self, message: Message) -> None:
        """Send a message as it is."""
        self._invariants.sent(message)
        if not self.network_send(message):
            self._lose(message, "sender")

    def _lose(self, message: Message, where: Where) -> None:
        """Show the loss of a message in the picture."""
        if self.collector is not None:
            self.collector.lose(message, self._world.now_ms / 1000, where)

    def not_leader(self, leader: str) -> str:
        """Return the reply that redirects a client to `leader`."""
        return not_leader(leader, leader, 1)

    def report(self, effects: Effects) -> None:
        """Count the changes of a step, which the monitor has seen before.

        Raises:
            InvariantError: the node found that its state differs, and no fault made it differ.
        """
        if effects.differs:
            self._world.counts["nodes that differ"] += 1
            if not self.may_differ:
                raise InvariantError(f"{self.name} differs from entry {effects.differs} on")
        if effects.begins_again:
            self.disk.loses_state()
        if effects.notes and self.view is not None:
            self.measures.stepped(self.view, effects)
        if effects.cluster is not None:
            self.on_change()

    def wrote(self, arrived: Snapshot | None) -> None:
        """Check whether a snapshot is due, or has fully arrived."""
        self.snapshots.work.wrote(arrived)

    def applied(self) -> None:
        """Report applied entries, or an installed snapshot."""
        if self.watching is not None:
            self.watching.applied(self.manager, self.stepper.watchers.feed.history)
        self.watch_leases(self.manager)

    def watch_entries(self, watch: Callable[[Sequence[Entry], Sequence[str]], None]) -> None:
        """Call `watch` with the entries that the node executes, and their replies."""
        self._monitor.watch = watch

    def give_up_late(self, now: int) -> None:
        """Check that waiting requests are somewhere; clients time out by themselves."""
        requests, kept_apart = self.requests, len(self.stepper._reads_kept)
        self._promptness.count(requests.unanswered, requests.reading, kept_apart)
        self._promptness.look_at_transfers(self._invariants)

    def fail(self, error: BaseException) -> None:
        """Report a failure outside of the steps."""
        raise AssertionError(f"{self.name} fails: {error}") from error

    def _leads_on(self, index: int) -> bool:
        """Whether this node still leads the term in which it appended the entry."""
        view = self.view
        return view is not None and view.is_leader and view.log.term_at(index) == view.term

    def mark_ready(self, sink: ReplySink) -> None:
        """Mark a connection whose replies can leave after this step."""
        self.stepper.arrivals.ready_sinks.append(sink)

    def keep_waiting(self, connection: SimulatedConnection) -> None:
        """Make a connection proceed after the next replies."""
        self.requests.waiting[connection] = None

    def note_reply(self, connection: SimulatedConnection, asked: Asked) -> None:
        """Deliver a reply, which has left, before the next wait."""
        self.requests.ready.append((connection, asked))

    # --- the disk -----------------------------------------------------------------------------

    @property
    def leasing(self) -> GrantedLeases:
        """The clock of leases."""
        return self.stepper._leasing

    @property
    def under_way(self) -> Sequence[DiskTask]:
        """The work that is being written: a new object for each write."""
        return self.writes.writing

    def write(self) -> None:
        """Begin to write all waiting work, unless the disk is busy: then it is next. Actions
        between two writes come first. The writer may keep sleeping while work that precedes a
        snapshot waits: then a snapshot is requested, and the writer wakes when it must be
        published."""
        if self.disk.is_hung:
            # New terms are always kept; each takes an election.
            count = sum(effects.save is None for effects, _ in self.writes.waiting)
            self._promptness.bound_steps(count)
            return
        if self._writer_sleeps or self.writes.writing or self.disk.is_held:
            return
        is_late = self.writer_pause_ms is not int and self.writes.goes_first
        if is_late and self._writer_sleeps_on():
            self.snapshots.work.ask(compacts=True)
        else:
            self._write()

    def _writer_sleeps_on(self) -> bool:
        """Perhaps let the writer sleep for a while; return whether it does."""
        if pause_ms := self.writer_pause_ms():
            self._writer_sleeps = True
            self._world.counts["writers that slept on"] += 1
            self.later(pause_ms, lambda _: self._wake_writer())
        return self._writer_sleeps

    def _wake_writer(self) -> None:
        if self._writer_sleeps:
            self._writer_sleeps = False
            if not self.disk.is_hung:
                self._write()

    def _write(self) -> None:
        while self._between_writes and self._between_writes[0][0]():
            _, then = self._between_writes.popleft()
            then(True)
        if not self.writes.begin():
            return
        if self.slow_ms is None:
            self.within(self.disk_ms, self._written)
        else:
            self.later(self.slow_ms(), self._written)

    def between_writes(self, act: Callable[[], bool], then: Callable[[bool], None]) -> None:
        """Run an action while nothing is being written, as the Writer does; `then` gets whether it
        ran."""
        self._between_writes.append((act, then))
        if self._writer_sleeps:
            self._wake_writer()
        elif self.writes.writing or not self._writer_sleeps_on():
            self.write()

    def after_long(self, act: Callable[[], None]) -> bool:
        """Defer an action to the end of a long entry; return False if there is none."""
        if self.pairs_lock.is_held:
            self._after_long.append(act)
        return self.pairs_lock.is_held

    def while_nothing_is_offloaded(
        self, act: Callable[[], bool], then: Callable[[bool], None]
    ) -> None:
        """Run an action while no entry is applied without `core`."""
        if self.pairs_lock.is_held:
            self._after_long.append(lambda: self.while_nothing_is_offloaded(act, then))
        else:
            then(act())

    # --- long entries: the applier's thread -----------------------------------------------------

    def _wake_applier(self) -> None:
        self.later(0, self._apply_offloaded)

    def _apply_offloaded(self, node: RawNode) -> None:
        if self.pairs_lock.is_held:
            return
        entries = self.stepper.applying.begin_offload()
        if entries:
            self.pairs_lock.is_held = self.manager.is_offloaded = True
            self._world.counts["long entries begun"] += 1
            self.later(self.long_ms, lambda node: self._applied_offloaded(entries))

    def _applied_offloaded(self, entries: Sequence[Entry]) -> None:
        self.pairs_lock.is_held = self.manager.is_offloaded = False
        self.requests.reads_amid_offload = []
        self.stepper.end_offload(entries, self.stepper.applying.apply_offloaded(entries))
        waiting, self._after_long = self._after_long, []
        for act in waiting:
            act()
        if self.stepper.applying.awaits_offload:
            self.later(ceil(1000 * self.stepper.applying.pause_s), self._apply_offloaded)

    def back_up(self) -> None:
        """Take a backup: the state at one moment, whatever is applied meanwhile. It waits for a
        long entry, without `core`."""
        if self.node is None or self.paused:
            return
        if self.pairs_lock.is_held:
            self._after_long.append(self.back_up)
            return
        if self.view is not None and self.view.differs:
            return  # it gives none
        state = self.manager.freeze()
        expected = state.index, dict(self.manager.store.held)
        assert state.index == self.manager.applied.index
        self.within(4 * self._plan.pause_ms, lambda _: self._backed_up(state, expected))

    def _backed_up(self, state: MachineState, expected: tuple[int, dict[str, str]]) -> None:
        if self.pairs_lock.is_held:
            self._after_long.append(lambda: self._backed_up(state, expected))
            return
        assert (state.index, dict(state.pairs)) == expected, f"a backup of {self.name} moved"
        state.release(no_pause)
        self._world.counts["backups"] += 1

    def _written(self, node: RawNode) -> None:
        if self.disk.is_hung:
            return
        works = [effects for effects, _ in self.writes.writing]
        durable = self.disk.persist(self.manager, works)
        self._monitor.wrote(works)
        self.stepper.after_write(self.writes.take_written(), durable)
        self.write()

    # --- time -----------------------------------------------------------------------------

    def _time_may_be_up(self) -> None:
        if not self.paused:  # else it checks the clock when it resumes
            if self.node is not None:
                self._promptness.alarm(self.node.wake_at_ms)
            self._alive(self._incarnation, self._keep_time)

    def _keep_time(self, node: RawNode) -> None:
        """Act as the owner thread while it is awake, and let it sleep again."""
        self._sleep.end()
        self.stepper.keep_time()
        self._owner_sleeps(node)

    def _owner_sleeps(self, node: RawNode) -> None:
        pause_s = self.stepper.begin_sleep()
        if self.stepper.applying.lags:
            pause_s = self.stepper.applying.pause_s
        pause_ms = max(ceil(1000 * pause_s - 0.001), pause_s > 0)
        self.clock.wake_at(self.clock.now_ms() + pause_ms)

    def _spend(self) -> None:
        self.clock.spent_s += SLICE_S

    def _wake_owner(self) -> None:
        self.clock.wake_at(self.clock.now_ms())

    # --- another judge -----------------------------------------------------------------------

    @property
    def members(self) -> Mapping[str, str]:
        """The members that it was born with."""
        return self._members

    def judge_by(self, invariants: Invariants) -> Invariants:
        """Judge the stopped node by other facts from its next start on; return the previous
        ones."""
        before, self._invariants = self._invariants, invariants
        self.requests.invariants = self._monitor.invariants = invariants
        return before

    # --- starts and stops ---------------------------------------------------------------------

    def start(self, *, never_ran: bool = False) -> None:
        """Recover from the disk and start, unless the node is already running; `never_ran` is an
        operator's word."""
        if self.node is not None:
            return
        members = {} if self.is_joiner else self._members
        may_say_so = self.may_be_said_new and not self.is_joiner and not self.disk.has_vote
        never_ran = never_ran or (may_say_so and self._world.chance(self._plan.said_new))
        try:
            self.manager, recovered = self.disk.recover(
                members, never_ran=never_ran, joins=self.is_joiner
            )
        except StorageError:
            if not self.disk.is_full:
                raise
            self._world.counts["starts without room"] += 1
            self._world.after(100, self.start)
            return
        self.manager.look_at(self._monitor)
        if self._plan.long_ms:
            self.manager.client_lock = self.pairs_lock  # type: ignore[assignment]
            self.manager.changes_offloaded = lambda: self.pairs_lock.is_held
            self.manager.state.machines = machines()
        if self._plan.slow_entries:
            self.manager.spend = self._spend
        self._world.tell("act", f"> start {self.name}")
        for note in recovered.notes:
            self._world.tell("start", f"{self.name}: {note}")
        if self.disk.lost_promise:
            self.disk.lost_promise = False
            self._invariants.forgot(self.name)
        chance = self._world.random
        options = replace(
            self._plan.options_of_a_start(chance),
            cluster_if_new=""
            if self.is_at_floor
            else cluster_of(self.name, self._incarnation, self.epoch),
        )
        known = {
            "base_cluster": recovered.base_cluster,
            "cluster": recovered.cluster,
            "differs": recovered.differs,
            "received_index": recovered.received,
        }
        self.node = node = self.make_node(
            self.name,
            recovered.members,
            recovered.log,
            recovered.hard_state,
            options,
            self._plan.timeouts_of(self.name, chance, options.election_timeout_ms),
            self.clock.now_ms(),
            recovering=recovered.recovering,
            newborn=recovered.newborn,
            may_be_new=recovered.may_be_new,
            incarnation=self._incarnation,
            snapshot=recovered.snapshot,
            **(known if recovered.cluster else {}),  # a foreign core has none
        )
        if self.collector is not None:
            self.collector.observe(node, lambda: self._world.now_ms / 1000)
        self.view = node.view
        self._invariants.started(node)
        self._make_rim(node)
        self.snapshots.started(node)
        self.clock.forget()
        self._owner_sleeps(node)
        self.on_change()

    def _make_rim(self, node: RawNode) -> None:
        """Create the parts of a driver."""
        self.observing = node.observer = Observer(
            node, self._monitor, self._invariants, self.requests, node.observer
        )
        self.writes = WriteQueue(self.write)
        self.measures, plan = Measures(self.clock), self._plan
        queue = self.queue = RequestQueue(
            plan.hold_ms, self.measures, plan.queued_bytes, clock=self.clock
        )
        sleep = self._sleep = OwnerSleep(self._wake_owner)
        self.stepper = Stepper(
            node, self.manager, self.writes, queue, self, sleep, self.fail, self.clock
        )
        is_own = self.make_node is node_from_disk
        self._promptness = Promptness(self.name, queue, node.view, self.clock, is_own=is_own)
        if self._plan.long_ms:
            self.stepper.applying.on_long = self._wake_applier
        self.stepper.applying.on_sum = self._sum_state
        self.stepper.watchers.run_beside = self._run_beside
        if self.watching is not None:
            self.watching.started(self.stepper.watchers)

    def _sum_state(self) -> None:
        """Sum the state in a job, which draws chances for its pauses, or at once."""
        manager, node = self.manager, self.node
        if self.sums_in_a_job:
            self.snapshots.work.sum_state()
        elif node is not None and (
            manager.store.to_sum or is_due(manager.applied.index, manager.state_lines)
        ):
            with contextlib.suppress(StateRefused):
                node.step(state_summed(manager), node.view.now_ms)

    def _run_beside(self, run: Callable[[], None]) -> bool:
        """Restart watches, as if by a separate thread."""

        def run_without_core() -> None:
            with self.without_core:
                run()

        self.beside(1, 0.5, run_without_core)
        return True

    def stop(self, *, power_cut: bool) -> None:
        """Die now; a power cut loses unsynced data, and a write in progress is on the disk fully,
        partly or not at all."""
        if self.node is None:
            return
        writing = [effects for effects, _ in self.writes.writing]
        self.writes.take_written()
        unsaved = [effects for effects, _ in self.writes.begin()]
        self.disk.die(self.manager, writing, unsaved, self.node, power_cut=power_cut)
        saves = [work.save for work in (*writing, *unsaved) if work.save is not None]
        self._invariants.forget(self.name, {save.term for save in saves})
        self.pairs_lock.is_held = False
        self._after_long.clear()
        self.snapshots.stopped()
        self._between_writes.clear()
        self._writer_sleeps = False
        self.node = None
        if self.collector is not None:
            self.collector.end(self.name, self._world.now_ms / 1000)
        self._incarnation += 1
        self.clock.forget()
        self.paused = False
        self._backlog.clear()
        self.requests.hang_up()
        self.on_change()

    def pause(self) -> None:
        """Pause: take no input while time passes."""
        self.paused = self.node is not None

    def resume(self) -> None:
        """Resume with all pending input at once: before or after a look at the clock."""
        if not self.paused:
            return
        self.paused = False
        self._promptness.stood_still()
        self._world.tell("act", f"> resume {self.name}")
        backlog, self._backlog = self._backlog, []
        if self._world.chance(0.5):
            self._alive(self._incarnation, self._keep_time)
        for act in backlog:
            act()
        self._alive(self._incarnation, self._keep_time)
        self.on_change()


class ChangeAsked:
    """A connection that requested a change of members."""

    user: str | None = None

    def __init__(
        self, change: Change, settle: Settle, mark_ready: Callable[[ChangeAsked], None]
    ) -> None:
        self._settle = settle
        self._mark_ready = mark_ready
        self.batch = Batch([change.verb], is_read=False, change=change, reply_sink=self)

    def keep(self, batch: Batch, replies: list[str]) -> list[str]:
        return replies

    def mark_ready(self) -> None:
        self._mark_ready(self)

    def flush(self) -> None:
        reply = self.batch.replies[0]
        if reply.startswith(OUTCOME_UNKNOWN):
            self._settle("unknown", reply.removeprefix(OUTCOME_UNKNOWN))
        elif reply.startswith("Sorry, "):
            self._settle("refused", reply.removeprefix("Sorry, ").removesuffix("."))
        else:
            self._settle("done", reply.partition(": ")[2])

    def break_off(self) -> None:
        pass


def leaders(hosts: Iterable[Host]) -> list[tuple[Host, NodeView]]:
    """Return the nodes that lead, or believe so."""
    return [
        (host, host.node.view)
        for host in hosts
        if host.node is not None and host.node._state.leading is not None
    ]
