"""One simulated node: the core, its LogManager, its disk, and the rim that joins them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Protocol

from raftline.logmanager import LogManager
from raftline.node.leasing import Leasing
from raftline.node.write_queue import precedes_snapshots
from raftline.raft.change import Change
from raftline.raft.effects import Effects
from raftline.raft.entries import Entry
from raftline.raft.inputs import (
    Applied,
    ChangeMembers,
    Input,
    Propose,
    Receive,
    Synced,
    Tick,
)
from raftline.raft.levels import FIRST
from raftline.raft.messages import InstallSnapshot, Message, PeerError
from raftline.raft.node import RawNode, node_from_disk
from raftline.raft.state import Options
from raftline.raft.transfer import OrderRefused, TransferRefused
from raftline.raft.view import NodeView
from raftline.storage.disk import DiskFailed
from raftline.view.collected import Collector
from tests.faulty_folder import Died
from tests.invariants import Invariants
from tests.virtual.clock import Clock
from tests.virtual.disk import Disk
from tests.virtual.monitor import Monitor
from tests.virtual.requests import Request, Requests
from tests.virtual.snapshots import Snapshots
from tests.virtual.watching import NodeEvents, Watching
from tests.virtual.world import World

MayBegin = Callable[[RawNode, Change], bool]
Settle = Callable[[str, str], None]  # sent the outcome of a change of members


class NodePlan(Protocol):
    """The part of a plan that a node needs: drawn (plan.py), or as a script says (script.py)."""

    @property
    def disk_ms(self) -> int: ...  # the longest time that a write takes
    @property
    def snapshots(self) -> float: ...  # the share of applied batches with a snapshot after them
    @property
    def said_new(self) -> float: ...  # the share of first starts that an operator says to be such
    def clock_of(self, name: str, chance: Random) -> tuple[int, int]: ...
    def options_of_a_start(self, chance: Random) -> Options: ...
    def timeouts_of(self, name: str, chance: Random, timeout_ms: int) -> Callable[[], int]: ...


class Host:
    """A node that can be paused, killed and started again.

    It keeps to the contract of `Effects`: `send` goes at once, step 2 in order and all that
    waits in one write, `send_after_save` after its own and every earlier step 2, and what is
    committed is applied at once. Its clock runs at its own pace.
    """

    def __init__(
        self,
        world: World,
        plan: NodePlan,
        name: str,
        members: Mapping[str, str],
        invariants: Invariants,
        send: Callable[[Message], None],
        disk: Disk,
    ) -> None:
        self.name = name
        self.node: RawNode | None = None
        self.collector: Collector | None = None  # of a picture
        self.view: NodeView | None = None  # what it knows, or knew when it died
        self.manager: LogManager
        self.leasing: Leasing
        self.watching: Watching | None = None  # who takes the events of all nodes
        self.watch_leases: Callable[[LogManager], None] = lambda manager: None
        self.watch_renewals: Callable[[Host, str], None] = lambda host, reply: None
        self.disk = disk
        self.paused = False
        self.disk_ms = plan.disk_ms
        self.send = send
        self.make_node: Callable[..., RawNode] = (
            node_from_disk  # or another core (course/raftline_course/grading)
        )
        self._world = world
        self._plan = plan
        self._members = members
        self._invariants = invariants
        self.build_level = FIRST  # of the build that it is started with
        self.was_born_with_others = len(members) > 1
        self.is_joiner = False  # from its next start on it knows no members, and asks to be added
        self.may_be_said_new = bool(members)  # until it loses a file: nothing ran here before
        self._incarnation = 1  # what belongs to an earlier one is void
        self._backlog: list[Callable[[], None]] = []  # arrived while paused
        self._inputs: deque[Input] = deque()  # the one that is taken, and those it led to
        self._unsaved: list[Effects] = []
        self._writing: list[Effects] = []
        start_ms, permille = plan.clock_of(name, world.random)
        self.clock = Clock(world, name, start_ms, permille, self._time_may_be_up)
        self._now_ms = self.clock.now_ms
        self.requests = Requests(world, name, invariants, self.step)
        self.snapshots = Snapshots(world, plan.snapshots, self)
        self._monitor = Monitor(world, name, invariants)
        self._events: NodeEvents | None = None  # of this start

    # --- inputs -----------------------------------------------------------------------------

    def take(self, taken: Input) -> None:
        """An input comes: a message, the end of a connection, an order."""
        self._when_up(lambda node: self._taken(node, taken))

    def _taken(self, node: RawNode, taken: Input) -> None:
        if isinstance(taken, Receive):
            self._world.tell("arrival", taken.message)
        try:
            self.step(node, taken)
        except PeerError as error:
            assert isinstance(taken, Receive)
            self._invariants.refused(node, taken.message, error)
            self._world.counts["messages of non-members"] += 1
            self._world.tell("answer", f"{taken.message.sender} <- {self.name}@Sorry, {error}")
        except TransferRefused as refusal:
            self._world.tell("answer", f"{self.name}: Sorry, {refusal}.")
        except OrderRefused:
            pass

    def change(self, change: Change, settle: Settle, may_begin: MayBegin) -> None:
        """Somebody asks this node to change the members; `may_begin` is asked right before."""

        def begin(node: RawNode) -> None:
            if node.takes_proposals and may_begin(node, change):
                self._world.tell("act", f"> {self.name} is asked to {change}")
                self._world.counts["changes asked for"] += 1
                self.step(node, ChangeMembers(change, settle))

        self._when_up(begin)

    def submit(self, request: Request) -> None:
        """A client's request arrives; a node that is down refuses the connection."""
        if self.node is None:
            request.client.refused(request, None)
        else:
            request.must_see_index = self._invariants.acknowledged_index
            self._when_up(lambda _: self._submitted(request))

    def _submitted(self, request: Request) -> None:
        if self.requests.put(request):  # all that come until then make one round
            self.within(2, self.requests.serve)

    def _when_up(self, act: Callable[[RawNode], None]) -> None:
        """Let the node take an input; while it is paused, when it goes on."""
        incarnation = self._incarnation
        if self.paused:
            self._backlog.append(lambda: self._alive(incarnation, act))
        else:
            self._alive(incarnation, act)

    def _alive(self, incarnation: int, act: Callable[[RawNode], None]) -> None:
        """Let the node take an input, unless it died since; its disk may let it die of this."""
        if self.node is None or incarnation != self._incarnation:
            return
        try:
            act(self.node)
        except (Died, DiskFailed) as error:
            self._world.tell("act", f"> {self.name} dies at its disk: {type(error).__name__}")
            self._world.counts["deaths at the disk"] += 1
            self.stop(power_cut=isinstance(error, Died) and self._world.chance(0.5))
            self._world.after(self._world.random.randint(10, 500), self.start)

    def later(self, delay_ms: int, act: Callable[[RawNode], None]) -> None:
        """Let this incarnation of the node take an input later."""
        self._world.after(delay_ms, self._in_incarnation, self._incarnation, act)

    def within(self, longest_ms: int, act: Callable[[RawNode], None]) -> None:
        """Let this incarnation of the node take an input so much later at most."""
        self._world.within(longest_ms, self._in_incarnation, self._incarnation, act)

    def _in_incarnation(self, incarnation: int, act: Callable[[RawNode], None]) -> None:
        if incarnation == self._incarnation:
            self._when_up(act)

    # --- Effects ------------------------------------------------------------------------------

    def step(self, node: RawNode, taken: Input) -> None:
        """Let the core take an input, and carry out its Effects.

        An input that comes of the Effects themselves, since a write took no time, say, is taken
        after them.
        """
        self._inputs.append(taken)
        if len(self._inputs) > 1:
            return
        try:
            while self._inputs:
                effects = self._invariants.step(node, self._inputs[0], self.clock.now_ms())
                self._carry_out(node, effects)
                self._inputs.popleft()
        finally:
            self._inputs.clear()

    def _carry_out(self, node: RawNode, effects: Effects) -> None:
        """Carry out one Effects, in the order in which it must be."""
        self._monitor.stepped(node, effects)
        self.requests.give_up_if_deposed(node)
        if effects.install is not None:
            self.manager.take_over(effects.install)
            self._tell_events([])
            self.step(node, Applied(effects.install.index))
        if effects.send:
            self._send_all(effects.send)
        if effects.wants_disk or (effects.send_after_save and (self._unsaved or self._writing)):
            self._unsaved.append(effects)
            self.write()
        elif effects.send_after_save:
            self._send_all(effects.send_after_save)
        if effects.apply:
            self._apply(effects.apply)
            self.step(node, Applied(effects.apply[-1].index))
        self.leasing.stepped(self._now_ms)
        if effects.apply or effects.install is not None:
            self.watch_leases(self.manager)
        for ready in effects.reads:
            self.requests.confirmed(node, ready, self.answer)
        for request in effects.refused:
            self.requests.refused(node, request)
        for settle, outcome, text in effects.settled:
            settle(outcome, text)
        self._invariants.keeps_reads(node._state, self.requests.reading)
        self._wake(node)

    def answer(self, request: Request) -> str:
        """Return the reply to a read that was confirmed."""
        if request.how == "clock":
            command = request.command.rpartition("@")[2]
            reply = self.leasing.answer(command, self.clock.now_ms())
            self.watch_renewals(self, reply)
            return reply
        return self.manager.read([request.command])[0]

    def _wake(self, node: RawNode) -> None:
        self.clock.wake_at(min(node.wake_at_ms, self.leasing.wake_at_ms))

    def _send_all(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if isinstance(message, InstallSnapshot):
                self.snapshots.send_piece(message)
                continue
            self._invariants.sent(message)
            self.send(message)

    def _apply(self, entries: Sequence[Entry]) -> None:
        replies = self.manager.apply(entries)
        self._tell_events(entries)
        self._world.counts["entries applied"] += len(entries)
        self._world.counts["retries answered from the table"] += self._invariants.replied(
            self.name, entries, replies
        )
        self.requests.applied(entries, replies)
        self.snapshots.maybe_take()

    def _tell_events(self, entries: Sequence[Entry]) -> None:
        if self._events is not None:
            self._events.applied(entries)

    # --- the disk -----------------------------------------------------------------------------

    @property
    def under_way(self) -> Sequence[Effects]:
        """Work that is being written now: another object for each write."""
        return self._writing

    @property
    def goes_first(self) -> bool:
        """As the Writer has it: what is under way here may as well wait yet."""
        return any(map(precedes_snapshots, (*self._writing, *self._unsaved)))

    def write(self) -> None:
        """Begin to write all that waits, unless the disk is busy: then it comes next."""
        if self._unsaved and not self._writing and not self.disk.is_held:
            self._writing, self._unsaved = self._unsaved, []
            self.within(self.disk_ms, self._written)

    def _written(self, node: RawNode) -> None:
        durable = self.disk.persist(self.manager, self._writing)
        works, self._writing = self._writing, []
        self._monitor.wrote(works)
        for work in works:
            self._send_all(work.send_after_save)
            if work.check is not None:
                self.snapshots.arrived(work.check)
        if durable is not None:
            self.step(node, Synced(*durable))
        self.write()

    # --- time -----------------------------------------------------------------------------

    def _time_may_be_up(self) -> None:
        if not self.paused:  # else it looks at the clock when it goes on
            self._alive(self._incarnation, self._look_at_the_clock)

    def _look_at_the_clock(self, node: RawNode) -> None:
        """Do what time asks for, as the stepper does."""
        now_ms = self.clock.now_ms()
        if now_ms >= node.wake_at_ms:
            self.step(node, Tick())
        if now_ms >= self.leasing.wake_at_ms and (expiry := self.leasing.expiry(now_ms)):
            self._world.counts["expiries proposed"] += 1
            self.step(node, Propose([expiry]))
        self._wake(node)

    # --- starts and stops ---------------------------------------------------------------------

    def start(self, *, never_ran: bool = False) -> None:
        """Recover from the disk and go on, unless the node runs already; `never_ran` is an
        operator's word."""
        if self.node is not None:
            return
        members = {} if self.is_joiner else self._members
        may_say_so = self.may_be_said_new and not self.is_joiner and not self.disk.has_vote
        never_ran = never_ran or (may_say_so and self._world.chance(self._plan.said_new))
        self.manager, recovered = self.disk.recover(members, never_ran=never_ran)
        self._events = NodeEvents(self.watching, self.manager) if self.watching else None
        self._world.tell("act", f"> start {self.name}")
        for note in recovered.notes:
            self._world.tell("start", f"{self.name}: {note}")
        if self.disk.lost_promise:
            self.disk.lost_promise = False
            self._invariants.forgot(self.name)
        chance = self._world.random
        options = replace(self._plan.options_of_a_start(chance), level=self.build_level)
        self.node = self.make_node(
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
            level=recovered.level,
        )
        if self.collector is not None:
            self.collector.observe(self.node, lambda: self._world.now_ms / 1000)
        self.view = self.node.view
        self.leasing = Leasing(self.node, self.manager.store)
        self._invariants.started(self.node)
        self.snapshots.started()
        self.clock.forget()
        self._wake(self.node)

    def stop(self, *, power_cut: bool) -> None:
        """Die here and now; a power cut takes what was not synced, and whatever was being
        written is on the disk in part, or not, or whole."""
        if self.node is None:
            return
        self.disk.die(self.manager, self._writing, self._unsaved, self.node, power_cut=power_cut)
        unsaved = [work.save for work in (*self._writing, *self._unsaved) if work.save is not None]
        self._invariants.forget(self.name, {save.term for save in unsaved})
        self.node = None
        if self.collector is not None:
            self.collector.end(self.name, self._world.now_ms / 1000)
        self._incarnation += 1
        self.clock.forget()
        self.paused = False
        self._backlog.clear()
        self._unsaved, self._writing = [], []
        self.requests.hang_up()

    def pause(self) -> None:
        """Stand still: nothing is taken in, while time goes on."""
        self.paused = self.node is not None

    def resume(self) -> None:
        """Go on with all that has come meanwhile, at once: before or after a look at the clock."""
        if not self.paused:
            return
        self.paused = False
        self._world.tell("act", f"> resume {self.name}")
        backlog, self._backlog = self._backlog, []
        if self._world.chance(0.5):
            self._alive(self._incarnation, self._look_at_the_clock)
        for act in backlog:
            act()
        self._alive(self._incarnation, self._wake)


def leaders(hosts: Iterable[Host]) -> list[tuple[Host, NodeView]]:
    """Return who leads, or believes so."""
    up = [(host, host.node.view) for host in hosts if host.node is not None]
    return [(host, view) for host, view in up if view.is_leader]
