"""One simulated node: the core, its LogManager, its disk, and the rim that joins them."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from raftline.logmanager import LogManager
from raftline.raft.chunks import InstallSnapshot
from raftline.raft.effects import Effects, Entry, Snapshot
from raftline.raft.messages import Message
from raftline.raft.node import Node
from raftline.raft.transfer import TransferRefused
from raftline.storage.errors import DiskFailed, StorageError
from raftline.storage.snapshotfile import no_pause
from tests.faulty_folder import Died
from tests.simulation.clients import Request
from tests.simulation.disk import Disk
from tests.simulation.invariants import HonestInvariants
from tests.simulation.plan import Plan
from tests.simulation.world import World


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
        self.node: Node | None = None
        self.manager: LogManager
        self.disk = Disk(world, name)
        self.paused = False
        self.disk_ms = plan.disk_ms
        self._world = world
        self._plan = plan
        self._members = members
        self._invariants = invariants
        self._send = send
        self._life = 0  # what belongs to an earlier one is void
        self._backlog: list[Callable[[], None]] = []  # arrived while paused
        self._unsaved: list[Effects] = []
        self._writing: list[Effects] = []
        self._requests: list[Request] = []  # of the next round
        self._proposed: deque[tuple[int, int, Request]] = deque()  # index, term
        self._takes_snapshot = False
        self._timer_at_ms = -1
        self._clock_start_ms = world.random.randint(0, 10_000)
        self._clock_permille = 1000 if plan.steady_clocks else world.random.randint(900, 1100)

    # --- what comes in ----------------------------------------------------------------------

    def receive(self, message: Message) -> None:
        """A message arrives."""
        self._take(lambda node: self._received(node, message))

    def _received(self, node: Node, message: Message) -> None:
        self._world.tell(message)
        self._carry_out(node, self._invariants.received(node, message, self._now_ms()))

    def lost(self, peer: str) -> None:
        """The connection to a peer breaks."""
        self._take(lambda node: self._carry_out(node, node.lost(peer, self._now_ms())))

    def hand_over(self, to: str | None) -> None:
        """Somebody asks this node to give way."""
        self._take(lambda node: self._handed_over(node, to))

    def _handed_over(self, node: Node, to: str | None) -> None:
        self._world.tell(f"> {self.name} hands over to {to or 'anybody'}")
        try:
            effects = node.transfer(to, self._now_ms())
        except TransferRefused as refusal:
            self._world.tell(f"{self.name}: Sorry, {refusal}.")
        else:
            self._world.counts["transfers begun"] += 1
            self._carry_out(node, effects)

    def submit(self, request: Request) -> None:
        """A client's request arrives; a node that is down refuses the connection."""
        if self.node is None:
            request.client.refused(request, None)
        else:
            request.must_see_index = self._invariants.acknowledged_index
            self._take(lambda _: self._submitted(request))

    def _submitted(self, request: Request) -> None:
        self._world.tell(f"{self.name} <- {request.client.name}@{request.command}")
        if not self._requests:  # all that come until then make one round
            self._later(self._world.random.randint(0, 2), self._serve)
        self._requests.append(request)

    def _serve(self, node: Node) -> None:
        requests, self._requests = self._requests, []
        reads = [request for request in requests if not request.in_log]
        writes = [request for request in requests if request.in_log]
        if node.takes_proposals:
            self._propose(node, writes)
        else:
            for request in writes:
                request.client.refused(request, None if node.is_leader else node.state.leader)
        if not node.is_leader:
            self._read_here(node, reads)
            return
        leased = [request for request in reads if request.how == "lease"]
        others = [request for request in reads if request.how != "lease"]
        if leased:
            self._carry_out(node, node.read_leased(leased, self._now_ms()))
        if others:
            self._carry_out(node, node.read(others, self._now_ms()))

    def _propose(self, node: Node, writes: Sequence[Request]) -> None:
        if not writes:
            return
        first = node.state.log.last_index + 1
        for index, request in enumerate(writes, start=first):
            self._proposed.append((index, node.state.term, request))
        commands = [request.command for request in writes]
        self._carry_out(node, node.propose(commands, self._now_ms()))

    def _read_here(self, node: Node, reads: Sequence[Request]) -> None:
        """A follower asks its leader for those that say so, and sends the others on."""
        leader = node.state.leader
        asking = [request for request in reads if request.how == "ask"]
        if asking:
            self._carry_out(node, node.ask_leader(asking, self._now_ms()))
        for request in reads:
            if request.how != "ask":
                request.client.refused(request, leader)

    def _take(self, act: Callable[[Node], None]) -> None:
        """Let the node take an input; while it is paused, when it goes on."""
        life = self._life
        if self.paused:
            self._backlog.append(lambda: self._alive(life, act))
        else:
            self._alive(life, act)

    def _alive(self, life: int, act: Callable[[Node], None]) -> None:
        if self.node is not None and life == self._life:
            act(self.node)

    def _later(self, delay_ms: int, act: Callable[[Node], None]) -> None:
        """Let this life of the node take an input later."""
        life = self._life

        def then() -> None:
            if life == self._life:
                self._take(act)

        self._world.after(delay_ms, then)

    # --- Effects ------------------------------------------------------------------------------

    def _carry_out(self, node: Node, effects: Effects) -> None:
        for note in effects.notes:
            self._world.tell(f"{self.name}: {note}")
        self._invariants.stepped(node, effects)
        if "[*] I am Leader" in effects.notes:
            self._world.counts["elections won"] += 1
        self._give_up_if_deposed(node)
        self._send_all(effects.send)
        if effects.wants_disk or (effects.send_after_save and (self._unsaved or self._writing)):
            self._unsaved.append(effects)
            self._write()
        else:
            self._send_all(effects.send_after_save)
        if effects.install is not None:
            self.manager.take_over(effects.install)
        if effects.apply:
            self._apply(effects.apply)
            self._take_snapshot()
        for ready in effects.reads:
            self._invariants.reads(node, ready.token.must_see_index)
            self._answer(ready.token, self.manager.read([ready.token.command])[0])
        for request in effects.refused:
            request.client.refused(request, node.state.leader)
        self._set_timer(node)

    def _send_all(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if isinstance(message, InstallSnapshot):
                self._send_piece(message)
                continue
            self._invariants.sent(message)
            self._send(message)

    def _apply(self, entries: Sequence[Entry]) -> None:
        replies = self.manager.apply(entries)
        self._world.counts["entries applied"] += len(entries)
        for entry, reply in zip(entries, replies, strict=True):
            if self._proposed and self._proposed[0][0] == entry.index:
                self._invariants.acknowledged_index = entry.index
                self._answer(self._proposed.popleft()[2], reply)

    def _answer(self, request: Request, reply: str) -> None:
        self._world.after(self._world.random.randint(0, 2), request.client.answered, request, reply)

    def _give_up_if_deposed(self, node: Node) -> None:
        """Whoever lost the lead can't know what becomes of what it proposed."""
        while self._proposed and not (
            node.is_leader and node.state.term == self._proposed[0][1]
        ):
            request = self._proposed.popleft()[2]
            request.client.unknown(request)

    # --- the disk -----------------------------------------------------------------------------

    def _write(self) -> None:
        """Begin to write all that waits, unless the disk is busy: then it comes next."""
        if self._unsaved and not self._writing:
            self._writing, self._unsaved = self._unsaved, []
            self._later(self._world.random.randint(0, self.disk_ms), self._written)

    def _written(self, node: Node) -> None:
        try:
            durable = self.disk.persist(self.manager, self._writing)
        except DiskFailed:
            self._world.tell(f"> {self.name} stops: its disk failed")
            self.stop(power_cut=False)
            self._world.after(self._world.random.randint(10, 500), self.start)
            return
        works, self._writing = self._writing, []
        self._on_disk(works)
        for work in works:
            self._send_all(work.send_after_save)
            if work.check is not None:
                self._check_snapshot(work.check)
        if durable is not None:
            self._carry_out(node, node.synced(*durable, self._now_ms()))
        self._write()

    def _on_disk(self, works: Sequence[Effects]) -> None:
        """Tell the invariants and the transcript what is durable now."""
        for work in works:
            if work.save is not None:
                self._world.tell(f"{self.name} saves term {work.save.term} vote {work.save.vote}")
                self._invariants.saved(self.name, work.save)
            if work.install is not None:
                self._world.counts["snapshots installed"] += 1
                self._invariants.cut(self.name, work.install.index)
                self._invariants.synced(self.name, work.install.index)
            if work.cut_after is not None:
                self._world.tell(f"{self.name} cuts after {work.cut_after}")
                self._world.counts["cuts"] += 1
                self._invariants.cut(self.name, work.cut_after)
            if work.append:
                lines = ", ".join(f"{e.index} {e.term} {e.command}" for e in work.append)
                self._world.tell(f"{self.name} appends {lines}")
                self._invariants.synced(self.name, work.append[-1].index)
            if work.forgot:
                self._invariants.lost_a_log()
                self._world.counts["newborns that found a history"] += 1
            if work.recovered:
                self._world.counts["amnesiacs made whole"] += 1

    # --- snapshots ----------------------------------------------------------------------------

    def _take_snapshot(self) -> None:
        """Now and then, freeze the state and write it; it comes in force a little later."""
        files = self.manager.snapshots
        share = self._plan.snapshots
        if self._takes_snapshot or not share or not self._world.chance(share):
            return
        try:
            snapshot = files.write(self.manager.freeze(), no_pause)
        except DiskFailed:
            with contextlib.suppress(DiskFailed):
                files.discard()
            return
        self._takes_snapshot = True
        self._later(self._world.random.randint(0, 50), lambda node: self._publish(node, snapshot))

    def _publish(self, node: Node, snapshot: Snapshot) -> None:
        """Put the snapshot in force, and the log behind it, once nothing waits for the disk."""
        if self._writing or self._unsaved:
            self._later(1, lambda node: self._publish(node, snapshot))
            return
        self._takes_snapshot = False
        if dies := self._world.chance(0.1):
            self.disk.die_soon()
        try:
            self._compact(node, snapshot)
        except (Died, DiskFailed):
            self._world.tell(f"> {self.name} dies with a snapshot half in force")
            self._world.counts["deaths while compacting"] += 1
            self.stop(power_cut=self._world.chance(0.5))
            self._world.after(self._world.random.randint(10, 500), self.start)
            return
        if dies:
            self.disk.folder.fault = None

    def _compact(self, node: Node, snapshot: Snapshot) -> None:
        manager = self.manager
        if not manager.snapshots.publish(snapshot):
            return
        self._world.tell(f"{self.name} took a snapshot up to entry {snapshot.index}")
        self._carry_out(node, node.snapshot_taken(snapshot, self._now_ms()))
        rewrite = manager.begin_rewrite(snapshot)
        last = min(node.state.commit_index, manager.last_written)
        rewrite.copy(node.state.log.entries(rewrite.next_index, last))
        rewrite.sync()
        rest = node.state.log.entries(rewrite.next_index, manager.last_written)
        manager.finish_rewrite(rewrite, rest)
        while node.compact(node.compaction_index()):
            pass
        self._world.counts["snapshots taken"] += 1

    def _check_snapshot(self, snapshot: Snapshot) -> None:
        """Check what has arrived, a little later, and hand it to the core or refuse it."""

        def checked(node: Node) -> None:
            try:
                loaded = self.manager.snapshots.check(snapshot, no_pause)
            except (ValueError, StorageError) as error:
                self._carry_out(node, node.refuse(snapshot, str(error), self._now_ms()))
                return
            self.manager.arrived(loaded)
            self._carry_out(node, node.install(snapshot, loaded.members, self._now_ms()))

        self._later(self._world.random.randint(0, 20), checked)

    def _send_piece(self, message: InstallSnapshot) -> None:
        peer, snapshot = message.to, message.snapshot
        try:
            file = self.manager.snapshots.open(snapshot)
        except StorageError:
            return
        if file is None:
            self._later(
                0,
                lambda node: self._carry_out(
                    node, node.snapshot_gone(peer, snapshot, self._now_ms())
                ),
            )
            return
        with file:
            file.seek(message.offset)
            data = file.read(message.length).decode("utf-8", "surrogateescape")
        self._world.counts["pieces sent"] += 1
        self._send(replace(message, data=data))

    # --- time -----------------------------------------------------------------------------

    def _now_ms(self) -> int:
        return self._clock_start_ms + self._world.now_ms * self._clock_permille // 1000

    def _set_timer(self, node: Node) -> None:
        """Have the node woken when its own clock shows `wake_at_ms`."""
        ahead_ms = (node.wake_at_ms - self._clock_start_ms) * 1000
        at_ms = max(self._world.now_ms, -(-ahead_ms // self._clock_permille))
        if not self._world.now_ms <= self._timer_at_ms <= at_ms:
            self._timer_at_ms = at_ms
            self._world.after(at_ms - self._world.now_ms, self._timer_ends, self._life, at_ms)

    def _timer_ends(self, life: int, at_ms: int) -> None:
        if life == self._life and at_ms == self._timer_at_ms:
            self._timer_at_ms = -1
            if not self.paused:  # else it looks at the clock when it goes on
                self._alive(life, self._time_is_up)

    def _time_is_up(self, node: Node) -> None:
        self._timer_at_ms = -1
        if self._now_ms() >= node.wake_at_ms:
            self._carry_out(node, node.pass_time(self._now_ms()))
        else:
            self._set_timer(node)

    # --- life and death -----------------------------------------------------------------------

    def start(self) -> None:
        """Recover from the disk and go on, unless the node runs already."""
        if self.node is not None:
            return
        self.manager, recovered = self.disk.recover(self._members)
        self._world.tell(f"> start {self.name}")
        for note in recovered.notes:
            self._world.tell(f"{self.name}: {note}")
        if self.disk.lost_promise:
            self.disk.lost_promise = False
            self._invariants.forgot(self.name)
        options, chance = self._plan.options, self._world.random
        self.node = Node(
            self.name,
            recovered.members,
            recovered.log,
            recovered.hard_state,
            options,
            lambda: options.election_timeout_ms + chance.randrange(options.election_timeout_ms),
            self._now_ms(),
            amnesiac=recovered.amnesiac,
            newborn=recovered.newborn,
            life=self._life + 1,
            snapshot=recovered.snapshot,
        )
        self._invariants.started(self.node)
        self._timer_at_ms = -1
        self._set_timer(self.node)

    def stop(self, *, power_cut: bool) -> None:
        """Die here and now; a power cut takes what was not synced, and whatever was being
        written is on the disk in part, or not, or whole."""
        if self.node is None:
            return
        self.disk.die(self.manager, self._writing, self._unsaved, self.node, power_cut=power_cut)
        if len(self._members) == 1:
            self._invariants.forget(e for w in (*self._writing, *self._unsaved) for e in w.append)
        self.node = None
        self._takes_snapshot = False
        self._life += 1
        self.paused = False
        self._backlog.clear()
        self._unsaved, self._writing = [], []
        hung_up = [*self._requests, *(request for _, _, request in self._proposed)]
        self._requests, self._proposed = [], deque()
        for request in hung_up:
            request.client.unknown(request)

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
            self._alive(self._life, self._time_is_up)
        for act in backlog:
            act()
        self._alive(self._life, self._set_timer)
