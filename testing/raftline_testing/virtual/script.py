"""A simulation with a script as its plan: it decides when time passes, messages arrive and nodes
die.

Actions that take time in a schedule take none here, and nothing is left to chance.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from unittest.mock import patch

from raftline.raft.change import FORCE, Change
from raftline.raft.log import Entry
from raftline.raft.membership import all_vote
from raftline.raft.messages import Message, PeerError
from raftline.raft.newborn import PATIENCE
from raftline.raft.node import RawNode, node_from_disk
from raftline.raft.state import Options
from raftline.storage import recovery
from raftline.storage.recovery import Recovered
from raftline.wire import peer_lines
from raftline.wire.limits import QUEUED_BYTES
from raftline.wire.refusal import NO_LEADER, OUTCOME_UNKNOWN

from ..invariants import Invariants
from .collecting import Collector, Where
from .nodes.manager import Manager
from .nodes.request_interface import Request
from .nodes.simulated_disk import Disk
from .nodes.simulated_node import Host
from .plain_snapshots import PlainSnapshots
from .world.network import ScriptedNetwork
from .world.plan import NEVER
from .world.world import World, format_entry

EVENTS_MAX = 1000  # a script that needs more is in a loop
KINDS = ("note", "send", "disk", "answer")


class NoChance(Random):
    """A source of chance by which no random event happens, and the first choice is always taken."""

    def random(self) -> float:
        return 1.0

    def getrandbits(self, k: int) -> int:
        return 0


class ScriptedWorld(World):
    """A world whose time passes only at the script's command; `said` has each line with its
    kind."""

    def __init__(self) -> None:
        super().__init__(NoChance())
        self.said: list[tuple[str, str]] = []
        self.places: dict[str, float] = {}  # order of nodes, in case two alarms ring at once

    def within(self, longest_ms: int, act: Callable[..., None], *values: object) -> None:
        act(*values)

    def wake(self, name: str, delay_ms: int, act: Callable[..., None], *values: object) -> None:
        entry = (self.now_ms + delay_ms, self.places[name], self.tick(), act, values)
        heapq.heappush(self._queue, entry)

    def step_until(self, until_ms: int) -> bool:
        """Run the next event if it is due by then; return whether it was."""
        is_due = bool(self._queue) and self._queue[0][0] <= until_ms
        if is_due:
            self.step()
        else:
            self.now_ms = until_ms
        return is_due

    def tell(self, kind: str, what: str | Message) -> None:
        if kind in KINDS and isinstance(what, str):
            self.said.append((kind, what))

    def applied(self, name: str, entry: Entry) -> None:
        self.said.append(("apply", f"{name} applies {format_entry(entry)}"))


class ScriptedDisk(Disk):
    """A disk with snapshots that a person can type."""

    def __init__(self, world: World, name: str, first_members: Mapping[str, str]) -> None:
        super().__init__(world, name)
        self._snapshots = partial(PlainSnapshots, all_vote(first_members))

    def recover(
        self, members: Mapping[str, str], *, never_ran: bool = False, joins: bool = False
    ) -> tuple[Manager, Recovered]:
        with patch.object(recovery, "SnapshotFile", self._snapshots):
            return super().recover(members, never_ran=never_ran, joins=joins)


@dataclass(eq=False)
class ScriptedRequest:
    """A client's line at a node, which reports the answer."""

    client: ScriptedHost
    sender: str  # NAME or NAME#ID
    command: str
    in_log: bool
    how: str = ""  # how a read is confirmed
    must_see_index: int = 0

    @property
    def line(self) -> str:
        return self.command if "@" in self.command else f"{self.sender}@{self.command}"


class ScriptedHost(Host):
    """A node that reports its answers."""

    def __init__(self, cluster: ScriptedCluster, name: str, members: Mapping[str, str]) -> None:
        disk = cluster.make_disk(name)
        super().__init__(
            cluster.world, cluster, name, members, cluster.invariants, cluster.network.send, disk
        )
        self.is_at_floor = name not in cluster.above_floor
        self.make_node = cluster.make_node
        self.base = all_vote(members)  # members at birth; none if it waits to be added
        self._held_checks: list[Callable[[], None]] | None = None  # None: no check is held

    def join(self) -> None:
        """From the next start on, know no members and wait to be added."""
        self.is_joiner, self.base = True, all_vote({})

    def hold_disk(self, is_held: bool) -> None:
        """Stop all writes, or write all waiting work in order with one sync."""
        self.disk.is_held = is_held
        self.write()

    def hold_check(self, is_held: bool) -> None:
        """Hold the results of checks of snapshots, or take them all."""
        held, self._held_checks = self._held_checks, [] if is_held else None
        for take in held or ():
            take()

    def while_nothing_is_offloaded(
        self, act: Callable[[], bool], then: Callable[[bool], None]
    ) -> None:
        if self._held_checks is None:
            super().while_nothing_is_offloaded(act, then)
        else:
            self._held_checks.append(
                lambda: super(ScriptedHost, self).while_nothing_is_offloaded(act, then)
            )

    def answered(self, request: ScriptedRequest, reply: str) -> None:
        sender, mark, number = request.sender.partition("#")
        self._world.tell("answer", f"{sender} <- {self.name}{mark}{number}@{reply}")

    def refused(self, request: ScriptedRequest, leader: str | None) -> None:
        if leader is None:
            self.answered(request, NO_LEADER)
        else:
            reply = f"Sorry, I am not the leader. Last leader I heard from is: {leader}"
            self.answered(request, reply)

    def unknown(self, request: ScriptedRequest) -> None:
        if self.node is not None:
            self.answered(request, "Sorry, outcome unknown: I lead no longer")

    def settled(self, request: ScriptedRequest, outcome: str, text: str) -> None:
        """Report the outcome of a requested change of members."""
        begin = {"refused": "Sorry, ", "unknown": OUTCOME_UNKNOWN}
        self.answered(request, begin.get(outcome, "") + text)

    def submit(self, request: Request) -> None:
        view = self.view
        if view is not None and view.leader is None and not view.removed_by:
            request.client.refused(request, None)  # else it would wait for a leader
        else:
            super().submit(request)

    def _make_rim(self, node: RawNode) -> None:
        super()._make_rim(node)
        self.stepper._batching.gathers = False

    def _wake_owner(self) -> None:
        self._alive(self._incarnation, self._keep_time)

    def stop(self, *, power_cut: bool) -> None:
        super().stop(power_cut=power_cut)
        self.disk.is_held, self._held_checks = False, None


class ScriptedCluster:
    """Servers, the network between them, the time, and the script's settings of the servers."""

    disk_ms = 0
    compact_bytes = NEVER
    pause_ms = long_ms = 0
    said_new = 0.0
    queued_bytes = QUEUED_BYTES
    hold_ms = 300
    slow_entries = False

    def __init__(
        self, collector: Collector | None = None, world: ScriptedWorld | None = None
    ) -> None:
        self.world = world or ScriptedWorld()
        self._collector = collector
        self.hosts: dict[str, ScriptedHost] = {}
        self.make_node: Callable[..., RawNode] = node_from_disk
        self.invariants = Invariants()
        self.network = self.make_network()
        self.first_members: dict[str, str] = {}
        self.options = Options(
            election_timeout_ms=150, heartbeat_ms=50, trailing_bytes=0, patience=PATIENCE
        )
        self.timeouts: dict[str, list[int]] = {}  # the last one is kept
        self.above_floor: set[str] = set()  # the servers that give a log an identity
        self.clocks: dict[str, int] = {}  # percent of the world's pace

    def make_network(self) -> ScriptedNetwork:
        """Make the network between the servers."""
        return ScriptedNetwork(self.world, self.is_up)

    def make_disk(self, name: str) -> Disk:
        """Make the disk of a server."""
        return ScriptedDisk(self.world, name, self.first_members)

    def clock_of(self, name: str, chance: Random) -> tuple[int, int]:
        return 0, 10 * self.clocks.get(name, 100)

    def options_of_a_start(self, chance: Random) -> Options:
        return self.options

    def timeouts_of(self, name: str, chance: Random, timeout_ms: int) -> Callable[[], int]:
        def next_timeout_ms() -> int:
            timeouts = self.timeouts[name]
            return timeouts.pop(0) if len(timeouts) > 1 else timeouts[0]

        return next_timeout_ms

    # --- servers --------------------------------------------------------------------------

    def begin(self, names: list[str]) -> None:
        """Set the first members."""
        self.first_members = {name: f"{name}:1" for name in names}
        for name in names:
            self.add(name, self.first_members)

    def add(self, name: str, members: Mapping[str, str]) -> ScriptedHost:
        """Add a server; without members it waits to be added."""
        self.timeouts.setdefault(name, [150 + 50 * len(self.hosts)])
        self.world.places[name] = len(self.hosts)
        self.hosts[name] = ScriptedHost(self, name, members)
        self.hosts[name].collector = self._collector
        return self.hosts[name]

    def is_up(self, name: str) -> bool:
        return name in self.hosts and self.hosts[name].node is not None

    def crash(self, name: str) -> None:
        """Lose everything except the disk: unsynced data, messages in flight to it, and waiting
        clients."""
        self.hosts[name].stop(power_cut=False)
        self.deliver(to=name, drop=True)

    # --- inputs ---------------------------------------------------------------------------

    def receive(self, sender: str, to: str, text: str) -> None:
        """Deliver a line to a server, sent by a peer or typed by a client."""
        if self.hosts[to].node is None:
            with contextlib.suppress(PeerError):
                self.lose((sender, to, text), "receiver")
            return
        try:
            message = peer_lines.read(sender, to, text)
        except PeerError as error:
            self.world.tell("answer", f"{sender} <- {to}@Sorry, {error}")
        else:
            known = self.hosts.get(sender)
            self.hosts[to].hear(message, known.cluster if known is not None else "")

    def request(self, to: str, client: str, command: str) -> None:
        """Deliver a client's command to a server; `client` is NAME or NAME#ID."""
        host = self.hosts[to]
        node = host.node
        assert node is not None, f"{to} is down"
        is_get = command.startswith("get ")
        bare, _, mode = command.partition(" read ") if is_get else (command, "", "")
        change = change_of(command)
        in_log = not is_get or mode == "log"
        has_session = in_log and ("#" in client or bare == "session")
        line = f"{client}@{bare}" if has_session else bare
        how = "ask" if mode == "index" else mode
        request = ScriptedRequest(host, client, line, in_log, how)
        if change is not None and node.takes_proposals:
            host.change(change, partial(host.settled, request), lambda node, change: True)
        elif mode == "local":
            host.answered(request, host.manager.read([bare])[0])
        else:
            host.submit(request)

    def wait(self, until_ms: int, *, deliver: bool) -> None:
        """Advance the time: the nodes' timers fire in order of time, then of the nodes."""
        for _ in range(EVENTS_MAX):
            if deliver:
                self.deliver_until_quiet()
            if not self.world.step_until(until_ms):
                return
        raise AssertionError(f"time never comes to {until_ms} ms, timers stand still")

    def deliver_until_quiet(self) -> None:
        for _ in range(EVENTS_MAX):
            if not self.deliver():
                return
        raise AssertionError("the network never becomes quiet")

    def next_wake_ms(self) -> int:
        return min(
            host.clock.world_ms(host.node.wake_at_ms) for host in self.hosts.values() if host.node
        )

    def deliver(self, sender: str = "all", to: str = "all", *, drop: bool = False) -> int:
        """Deliver or lose the lines that are pending now between these two; return their number."""
        lines = self.network.take(sender, to)
        for line in lines:
            if not drop:
                self.receive(*line)
            else:
                self.lose(line, "way")
        return len(lines)

    def lose(self, line: tuple[str, str, str], where: Where) -> None:
        """Show the loss of a line between servers in the picture."""
        if self._collector is not None:
            message = peer_lines.read(*line)
            self._collector.lose(message, self.world.now_ms / 1000, where)


def change_of(command: str) -> Change | None:
    """Return the change of members that a command requests; here a server's address is its name."""
    *words, last = command.split()
    words, force = (words, True) if last == FORCE else ([*words, last], False)
    match words:
        case [("add" | "remove" | "promote" | "demote") as verb, name]:
            return Change(verb, name, f"{name}:1" if verb == "add" else "", force=force)
        case ["replace", old, name]:
            return Change("replace", name, f"{name}:1", old, force=force)
    return None
