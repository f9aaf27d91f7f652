"""One simulated node: the core, its LogManager, its disk, and the rim that joins them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from raftline.logmanager import LogManager
from raftline.node.writer import precedes_snapshots
from raftline.raft.change import Change
from raftline.raft.effects import Effects
from raftline.raft.entries import Entry
from raftline.raft.inputs import (
    Campaign,
    ChangeMembers,
    PeerDisconnected,
    StepDown,
    Synced,
    Tick,
    Transfer,
)
from raftline.raft.messages import InstallSnapshot, Message
from raftline.raft.node import RawNode, node_from_disk
from raftline.raft.transfer import OrderRefused, TransferRefused
from raftline.raft.view import NodeView
from raftline.storage.disk import DiskFailed
from tests.faulty_folder import Died
from tests.virtual.asked import Request
from tests.virtual.chronicle import Chronicle
from tests.virtual.clock import Clock
from tests.virtual.desk import Desk
from tests.virtual.disk import Disk
from tests.virtual.invariants import HonestInvariants
from tests.virtual.plan import Plan
from tests.virtual.snapshots import Snapshots
from tests.virtual.world import World


class Host:
    """A node that can be paused, killed and started again.

    It keeps to the contract of `Effects`: `send` goes at once, step 2 in order and all that
    waits in one write, `send_after_save` behind its own and every earlier step 2, and what is
    committed is applied at once. Its clock runs at its own pace.
    """

    def __init__(
        self,
        world: World,
        plan: Plan,
        name: str,
        members: Mapping[str, str],
        invariants: HonestInvariants,
        send: Callable[[Message], None],
    ) -> None:
        self.name = name
        self.node: RawNode | None = None
        self.view: NodeView | None = None  # what it knows, or knew when it died
        self.manager: LogManager
        self.disk = Disk(world, name)
        self.paused = False
        self.disk_ms = plan.disk_ms
        self.send = send
        self._world = world
        self._plan = plan
        self._members = members
        self._invariants = invariants
        self.was_born_with_others = len(members) > 1
        self.is_joiner = False  # from its next start on it knows no members, and asks to be added
        self.may_be_said_new = bool(members)  # until it loses a file: nothing ran here before
        self._life = 0  # what belongs to an earlier one is void
        self._backlog: list[Callable[[], None]] = []  # arrived while paused
        self._unsaved: list[Effects] = []
        self._writing: list[Effects] = []
        self._clock = Clock(world, plan, self._time_may_be_up)
        self.desk = Desk(world, name, invariants, self.carry_out, self.now_ms)
        self._snapshots = Snapshots(world, plan, self)
        self._chronicle = Chronicle(world, name, invariants)

    # --- what comes in ----------------------------------------------------------------------

    def receive(self, message: Message) -> None:
        """A message arrives."""
        self._take(lambda node: self._received(node, message))

    def _received(self, node: RawNode, message: Message) -> None:
        if not node.accepts(message):  # it would say so on the connection
            self._world.counts["messages of strangers"] += 1
            return
        self._world.tell(message)
        self.carry_out(node, self._invariants.received(node, message, self.now_ms()))

    def lost(self, peer: str) -> None:
        """The connection to a peer breaks."""
        self._take(
            lambda node: self.carry_out(node, node.step(PeerDisconnected(peer), self.now_ms()))
        )

    def hand_over(self, to: str | None) -> None:
        """Somebody asks this node to give way."""
        self._take(lambda node: self._handed_over(node, to))

    def _handed_over(self, node: RawNode, to: str | None) -> None:
        self._world.tell(f"> {self.name} hands over to {to or 'anybody'}")
        try:
            effects = node.step(Transfer(to), self.now_ms())
        except TransferRefused as refusal:
            self._world.tell(f"{self.name}: Sorry, {refusal}.")
        else:
            self._world.counts["transfers begun"] += 1
            self.carry_out(node, effects)

    def obey(self, order: StepDown | Campaign) -> None:
        """A controller orders this node to follow, or to stand."""
        self._take(lambda node: self._obeyed(node, order))

    def _obeyed(self, node: RawNode, order: StepDown | Campaign) -> None:
        with contextlib.suppress(OrderRefused):
            self.carry_out(node, node.step(order, self.now_ms()))

    def change(self, change: Change, may_begin: Callable[[RawNode, Change], bool]) -> None:
        """Somebody asks this node to change the members; `may_begin` is asked right before."""
        self._take(lambda node: self._changed(node, change, may_begin))

    def _changed(
        self, node: RawNode, change: Change, may_begin: Callable[[RawNode, Change], bool]
    ) -> None:
        if node.takes_proposals and may_begin(node, change):
            self._world.tell(f"> {self.name} is asked to {change}")
            self._world.counts["changes asked for"] += 1
            self.carry_out(node, node.step(ChangeMembers(change, change), self.now_ms()))

    def submit(self, request: Request) -> None:
        """A client's request arrives; a node that is down refuses the connection."""
        if self.node is None:
            request.client.refused(request, None)
        else:
            request.must_see_index = self._invariants.acknowledged_index
            self._take(lambda _: self._submitted(request))

    def _submitted(self, request: Request) -> None:
        if self.desk.put(request):  # all that come until then make one round
            self.later(self._world.random.randint(0, 2), self.desk.serve)

    def _take(self, act: Callable[[RawNode], None]) -> None:
        """Let the node take an input; while it is paused, when it goes on."""
        life = self._life
        if self.paused:
            self._backlog.append(lambda: self._alive(life, act))
        else:
            self._alive(life, act)

    def _alive(self, life: int, act: Callable[[RawNode], None]) -> None:
        """Let the node take an input, unless it died since; its disk may let it die of this."""
        if self.node is None or life != self._life:
            return
        try:
            act(self.node)
        except (Died, DiskFailed) as error:
            self._world.tell(f"> {self.name} dies at its disk: {type(error).__name__}")
            self._world.counts["deaths at the disk"] += 1
            self.stop(power_cut=isinstance(error, Died) and self._world.chance(0.5))
            self._world.after(self._world.random.randint(10, 500), self.start)

    def later(self, delay_ms: int, act: Callable[[RawNode], None]) -> None:
        """Let this life of the node take an input later."""
        life = self._life

        def then() -> None:
            if life == self._life:
                self._take(act)

        self._world.after(delay_ms, then)

    # --- Effects ------------------------------------------------------------------------------

    def carry_out(self, node: RawNode, effects: Effects) -> None:
        """Carry out one Effects, in the order in which it must be."""
        self._chronicle.stepped(node, effects)
        self.desk.give_up_if_deposed(node)
        self._send_all(effects.send)
        if effects.wants_disk or (effects.send_after_save and (self._unsaved or self._writing)):
            self._unsaved.append(effects)
            self._write()
        else:
            self._send_all(effects.send_after_save)
        if effects.install is not None:
            self.manager.take_over(effects.install)
        if effects.apply:
            self._apply(node, effects.apply)
        for ready in effects.reads:
            self.desk.confirmed(node, ready, self.manager)
        for request in effects.refused:
            self.desk.refused(node, request)
        self._invariants.keeps_reads(node._state, self.desk.reading)
        self._clock.wake_at(node.wake_at_ms)

    def _send_all(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if isinstance(message, InstallSnapshot):
                self._snapshots.send_piece(message)
                continue
            self._invariants.sent(message)
            self.send(message)

    def _apply(self, node: RawNode, entries: Sequence[Entry]) -> None:
        replies = self.manager.apply(entries)
        self._world.counts["entries applied"] += len(entries)
        self._world.counts["retries answered from the table"] += self._invariants.replied(
            self.name, entries, replies
        )
        self.desk.applied(entries, replies)
        self._snapshots.maybe_take()

    # --- the disk -----------------------------------------------------------------------------

    @property
    def goes_first(self) -> bool:
        """As the Writer has it: what is under way here may as well wait yet."""
        return any(map(precedes_snapshots, (*self._writing, *self._unsaved)))

    def _write(self) -> None:
        """Begin to write all that waits, unless the disk is busy: then it comes next."""
        if self._unsaved and not self._writing:
            self._writing, self._unsaved = self._unsaved, []
            self.later(self._world.random.randint(0, self.disk_ms), self._written)

    def _written(self, node: RawNode) -> None:
        durable = self.disk.persist(self.manager, self._writing)
        works, self._writing = self._writing, []
        self._chronicle.wrote(works)
        for work in works:
            self._send_all(work.send_after_save)
            if work.check is not None:
                self._snapshots.arrived(work.check)
        if durable is not None:
            self.carry_out(node, node.step(Synced(*durable), self.now_ms()))
        self._write()

    # --- time -----------------------------------------------------------------------------

    def now_ms(self) -> int:
        """The time by the node's own clock."""
        return self._clock.now_ms()

    def _time_may_be_up(self) -> None:
        if not self.paused:  # else it looks at the clock when it goes on
            self._alive(self._life, self._look_at_the_clock)

    def _look_at_the_clock(self, node: RawNode) -> None:
        if self.now_ms() >= node.wake_at_ms:
            self.carry_out(node, node.step(Tick(), self.now_ms()))
        else:
            self._clock.wake_at(node.wake_at_ms)

    # --- life and death -----------------------------------------------------------------------

    def start(self) -> None:
        """Recover from the disk and go on, unless the node runs already."""
        if self.node is not None:
            return
        members = {} if self.is_joiner else self._members
        says_new = self.may_be_said_new and not self.is_joiner and not self.disk.has_vote
        says_new = says_new and self._world.chance(self._plan.said_new)
        self.manager, recovered = self.disk.recover(members, never_ran=says_new)
        self._world.tell(f"> start {self.name}")
        for note in recovered.notes:
            self._world.tell(f"{self.name}: {note}")
        if self.disk.lost_promise:
            self.disk.lost_promise = False
            self._invariants.forgot(self.name)
        chance = self._world.random
        options = self._plan.options_of_a_start(chance)
        self.node = node_from_disk(
            self.name,
            recovered.members,
            recovered.log,
            recovered.hard_state,
            options,
            lambda: options.election_timeout_ms + chance.randrange(options.election_timeout_ms),
            self.now_ms(),
            recovering=recovered.recovering,
            newborn=recovered.newborn,
            may_be_new=recovered.may_be_new,
            incarnation=self._life + 1,
            snapshot=recovered.snapshot,
        )
        self.view = self.node.view
        self._invariants.started(self.node)
        self._snapshots.started()
        self._clock.forget()
        self._clock.wake_at(self.node.wake_at_ms)

    def stop(self, *, power_cut: bool) -> None:
        """Die here and now; a power cut takes what was not synced, and whatever was being
        written is on the disk in part, or not, or whole."""
        if self.node is None:
            return
        self.disk.die(self.manager, self._writing, self._unsaved, self.node, power_cut=power_cut)
        unsaved = [work.save for work in (*self._writing, *self._unsaved) if work.save is not None]
        self._invariants.forget(self.name, {save.term for save in unsaved})
        self.node = None
        self._life += 1
        self._clock.forget()
        self.paused = False
        self._backlog.clear()
        self._unsaved, self._writing = [], []
        self.desk.hang_up()

    def pause(self) -> None:
        """Stand still: nothing is taken in, while time goes on."""
        self.paused = self.node is not None

    def resume(self) -> None:
        """Go on with all that has come meanwhile, at once: before or after a look at the clock."""
        if not self.paused:
            return
        self.paused = False
        self._world.tell(f"> resume {self.name}")
        backlog, self._backlog = self._backlog, []
        if self._world.chance(0.5):
            self._alive(self._life, self._look_at_the_clock)
        for act in backlog:
            act()
        self._alive(self._life, lambda node: self._clock.wake_at(node.wake_at_ms))
