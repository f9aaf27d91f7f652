"""One schedule from its seed to its verdict."""

from __future__ import annotations

import contextlib
import gc
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple, Protocol

from raftline.access import login, secret
from raftline.common.process import wakeup
from raftline.node.loop import writer
from raftline.raft import state
from raftline.raft.log import entries_of
from raftline.raft.membership import Membership
from raftline.raft.messages import Message
from raftline.state import key_pages, sessions
from raftline.state.store import Store, sizes_of
from raftline.storage import sums
from raftline_testing.lab_address import ADDRESS

from ..extensions import joined
from ..invariants import BeganAgain, InvariantError
from ..workloads.client_history import History
from ..workloads.client_request import COUNTER
from ..workloads.journal import JOURNAL
from ..workloads.ledger import Ledger
from .clients.clients import SimulatedClient
from .clients.dealers import Dealer
from .clients.foreman import Foreman
from .clients.guests import Guests
from .clients.machine_runner import MachineRunner
from .clients.talkers import Talker
from .collecting import Collector
from .failing import draw_failure
from .faults.churn import Operator
from .faults.faults import Faults
from .faults.nonmember import NonMember
from .faults.proofs import Proofs, read_secrets
from .faults.second_beginning import TwoClusters
from .faults.upgrades import Upgrades
from .honest_invariants import HonestInvariants
from .leases.lease_holders import Holder, LeaseCheck
from .nodes import jobs_machine
from .nodes.manager import Manager
from .nodes.node_events import Watching
from .nodes.rough_lines import RoughLines
from .nodes.simulated_disk import Disk
from .nodes.simulated_node import Host, leaders
from .nodes.users_at_node import derived
from .schedule_key import ACTORS, STEPS, ScheduleKey
from .watches.onlookers import Onlookers
from .watches.watchlines import WatchClient
from .world.network import Network
from .world.places import FIRST_PORT
from .world.plan import NEVER, Plan
from .world.world import World

# Election timeouts after the last fault. Most seeds needed 7, and seed 3084 needed 26 to 50, where
# a node catches up entry by entry while a tenth of all messages is lost.
SERVE_WITHIN_TIMEOUTS = 75
# The modules `virtual.programs` of extensions: what programs make of leases and keys.
PROGRAMS = joined("virtual.programs")
# The modules `virtual.agents`: programs with the client library.
AGENTS = joined("virtual.agents")
SUM_EVERY = 8  # entries between two sums of a small state
# The same for a search: six clients that share two sessions complete few writes.
FOUND_WITHIN_TIMEOUTS = 300
WATCH_WITHIN_MS = 90_000  # a silence, and the time to notice that a node is cut off and to move on

AGAIN = "python testing/raftline_testing/virtual/simulate.py --seed {seed}{given} --verbose"
# The bug of lab 6 in these sources, if any. Without a number, the lab can't have these sources.
LAB_BUG: int | None = 0


class SimulationFailed(Exception):
    """A failed schedule: the error, how to repeat it, and the last events."""


class Program(Protocol):
    """A program that takes locks."""

    waiting: Any  # its request without an answer

    @property
    def is_through(self) -> bool:
        """Whether its last round is over, and no caller waits any more."""

    def begin_last_round(self) -> None:
        """Take each lock once more: each waiting caller must get it in time."""

    def knows(self, names: set[str]) -> bool:
        """Whether it knows one of these nodes."""

    def stop(self) -> None: ...


class Searcher(Protocol):
    """A client of the library, with several requests at a time."""

    waiting: Any  # a request without an answer
    found: int  # searches that ended

    def knows(self, names: set[str]) -> bool:
        """Whether it knows one of these nodes."""

    def stop(self) -> None: ...


class Machine(Protocol):
    """A client of the library that watches."""

    @property
    def is_current(self) -> bool:
        """Whether all events have arrived."""

    def knows(self, names: set[str]) -> bool:
        """Whether it knows one of these nodes."""

    def stop(self) -> None: ...


class Programs(Protocol):
    """The programs of an extension in one schedule."""

    def claimants(self, names: Sequence[str]) -> Sequence[Holder]:
        """Return holders of leases that do more than that, if the plan has them."""

    def lockers(self, history: History, seed: int) -> Sequence[Program]:
        """Return the programs that take locks."""

    def judge(self, store: Store) -> None:
        """Check what is left of them in the store."""


class Outcome(NamedTuple):
    """The counts of one schedule."""

    seed: int
    nodes: int
    virtual_ms: int
    events: int
    counts: Counter[str]


def run(
    seed: int,
    nodes: int | None = None,
    steps: int = STEPS,
    faults: Sequence[str] = (),
    say: Callable[[str], None] | None = None,
    collector: Collector | None = None,
    lockers: int = 0,
) -> Outcome:
    """Run a schedule of this many events with faults, then heal everything and judge.

    The seed decides everything that the arguments don't. A `collector` gets the steps of all nodes.
    `lockers` is the number of programs that take locks, in a cluster above the floor.

    Raises:
        SimulationFailed: an invariant broke, the healed cluster did not serve, or no single copy of
            the data explains the clients' observations.
    """
    key = ScheduleKey(seed, nodes, steps, tuple(faults), lockers)
    schedule = Schedule(seed, key.plan(), say)
    schedule.show_to(collector)
    try:
        with few_collections(), as_planned(schedule):
            for _ in schedule.events(steps):
                pass
            schedule.judge()
    except Exception as error:
        draw_failure(collector, error, schedule.world.acting)
        lines = "\n".join(schedule.world.trace())
        raise SimulationFailed(
            f"seed {seed}: {type(error).__name__}: {error}\n"
            f"see it again: {AGAIN.format(seed=seed, given=key.options())}\n"
            f"{_in_lab(key, schedule.world.events)}"
            f"{schedule.plan}\nthe last events:\n{lines}"
        ) from error
    world = schedule.world
    return Outcome(seed, schedule.plan.nodes, world.now_ms, world.events, Counter(world.counts))


def _in_lab(key: ScheduleKey, events: int) -> str:
    """Return the line that opens the failed schedule in the lab."""
    if LAB_BUG is None:
        return ""
    # One event more, since a schedule may also fail when all events are over.
    address = f"{ADDRESS}#{key.address(events + 1, LAB_BUG)}"
    return f"step through it: python3 src/cli.py learn, and open {address}\n"


@contextlib.contextmanager
def as_planned(schedule: Schedule) -> Iterator[None]:
    """Set the bounds of a plan in modules, read secrets from memory, and never pause."""
    plan = schedule.plan
    with (
        replaced(sums, "SUM_EVERY", SUM_EVERY),
        replaced(sums, "LINES_PART", 1),
        replaced(key_pages, "PAGE_KEYS", schedule.onlookers.page_keys),
        replaced(state, "APPLY_MAX", plan.apply_max),
        replaced(sessions, "SESSIONS_MAX", plan.sessions_max),
        replaced(sessions, "REMEMBERED_REQUESTS", 10 * plan.sessions_max),
        replaced(sessions, "WINDOW", plan.session_window),
        replaced(secret, "read_secrets", read_secrets),
        replaced(login, "derive", derived),
        replaced(writer, "WAITING_MAX", plan.waiting_max),
        replaced(wakeup, "PAUSE_S", 0.0),  # no thread waits for another
        replaced(wakeup, "PAUSE_FACTOR", 0),
        contextlib.ExitStack() as bounds,
    ):
        for module in AGENTS:
            for bound in module.bounds(plan):
                bounds.enter_context(replaced(*bound))
        yield


@contextlib.contextmanager
def few_collections() -> Iterator[None]:
    """Run the garbage collector rarely: most objects of a schedule live to its end."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextlib.contextmanager
def replaced(module: ModuleType, name: str, value: object) -> Iterator[None]:
    """Replace a constant or a function for a while.

    Importing `unittest.mock` takes as long as a schedule.
    """
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


class Schedule:
    """A cluster, its clients and its faults in one world."""

    def __init__(self, seed: int, plan: Plan, say: Callable[[str], None] | None) -> None:
        self.plan = plan
        self.world = World(random.Random(seed), say)
        names = [f"s{number}" for number in range(1, plan.nodes + plan.spares + 1)]
        addresses = {name: f"localhost:{port}" for port, name in enumerate(names, FIRST_PORT)}
        members = {name: addresses[name] for name in names[: plan.nodes]}
        self.network = Network(self.world, plan, names)
        self.network.deliver = self._deliver
        invariants = HonestInvariants(Membership(tuple(members), addresses=members))
        self._invariants, self._has_two_clusters = invariants, False
        self.hosts = {
            name: Host(
                self.world,
                plan,
                name,
                members if name in members else {},
                invariants,
                self.network.send,
                Disk(self.world, name),
            )
            for name in names
        }
        watching = Watching(self.world)
        for host in self.hosts.values():
            host.watching = watching
        self.history = History()
        self.clients = [
            self._client(f"client{number}", self._other(number))
            for number in range(1, plan.clients + 1)
        ]
        hosts = list(self.hosts.values())
        self.faults = Faults(self.world, plan, self.network, hosts)
        if plan.by_hand:
            self.world.counts["logs written by hand"] += 1
            by_hand = entries_of(1, 1001, [f"set hand {n}" for n in range(1, plan.by_hand + 1)])
            self.world.random.choice(hosts[: plan.nodes]).disk.bring(by_hand)  # no such term occurs
        self.programs: list[Programs] = [
            module.Programs(self.world, plan, hosts) for module in PROGRAMS
        ]
        self.holders = self._holders(hosts)
        self.ledger = Ledger()
        self.dealers = [
            self._dealer(f"dealer{number}", seed, self._other(number))
            for number in range(1, plan.dealers + 1)
        ]
        self.searchers: list[Searcher] = [
            each
            for module in AGENTS
            for each in module.searchers(self.world, plan, hosts, self.history)
        ]
        self.lockers = [each for one in self.programs for each in one.lockers(self.history, seed)]
        self.foreman = Foreman(self.world, plan, hosts) if plan.long_ms else None
        for host in hosts:
            host.snapshots.checks_files = "gone log" in plan.faults
        self.guests = Guests(self.world, plan, hosts, self.history, watching, seed)
        has_users = self.guests.is_on
        self.upgrades = Upgrades(self.world, plan, self.network, hosts, seed, has_users=has_users)
        self.faults.may_begin_again = self.upgrades.begins_above_the_floor
        NonMember(self.world, plan, hosts)
        moving = random.Random(f"moves {seed}")
        self.operator = Operator(self.world, plan, hosts, addresses, moving)
        self._let_writers_sleep(random.Random(f"writers {seed}"), hosts)
        chance = random.Random(f"lines {seed}")
        self.talkers = self._rough_lines(chance, hosts)
        names = [f"watch{number}" for number in range(chance.choice([0, 0, 1, 2]))]
        self.watch_clients = [
            WatchClient(self.world, chance, name, hosts, watching) for name in names
        ]
        self.machines: list[Machine] = [
            each
            for module in AGENTS
            for each in module.machines(self.world, hosts, watching, addresses, seed)
        ]
        self.proofs = Proofs(self.world, self.network, hosts, seed)
        users_at = self.guests.users_at
        self.onlookers = Onlookers(self.world, plan, hosts, users_at, addresses, seed)
        self.clients += self.guests.clients
        self.watch_clients += self.guests.watches

    def _let_writers_sleep(self, chance: random.Random, hosts: Sequence[Host]) -> None:
        """In some schedules, delay the writes that precede a snapshot."""
        share = chance.choice([0, 0, 0.2, 0.6])
        longest_ms = chance.choice([1, 3]) * self.plan.options.election_timeout_ms

        def pause_ms() -> int:
            return chance.randint(1, longest_ms) if chance.random() < share else 0

        for host in hosts if share and self.plan.compact_bytes < NEVER else ():
            host.writer_pause_ms = pause_ms

    def _rough_lines(self, chance: random.Random, hosts: Sequence[Host]) -> list[Talker]:
        """Make lines rough, with their own source of chance; return the clients that don't wait."""
        rough = RoughLines(self.world, chance)
        for host in hosts:
            host.requests.rough = rough
        names = [f"talker{number}" for number in range(chance.choice([0, 0, 0, 1, 2]))]
        return [Talker(self.world, chance, name, hosts, self.plan.think_ms) for name in names]

    def _other(self, number: int) -> ModuleType | None:
        """Return the extension that the client or dealer of this number belongs to, if any."""
        others = [None, *ACTORS] if self.plan.is_mixed else [None]
        return others[(number - 1) % len(others)]

    def _client(self, name: str, other: ModuleType | None = None) -> SimulatedClient:
        kind: type[SimulatedClient] = SimulatedClient if other is None else other.client
        return kind(self.world, self.plan, name, list(self.hosts.values()), self.history)

    def _dealer(self, name: str, seed: int, other: ModuleType | None) -> MachineRunner:
        hosts = list(self.hosts.values())
        if other is None:
            return Dealer(self.world, self.plan, name, hosts, self.ledger)
        dealer: MachineRunner = other.dealer(self.world, self.plan, name, hosts, self.ledger, seed)
        return dealer

    def _holders(self, hosts: Sequence[Host]) -> Sequence[Holder]:
        """Return the holders of leases; they need a cluster above the floor."""
        if not self.plan.holders:
            return []
        names = [f"holder{number}" for number in range(1, self.plan.holders + 1)]
        for one in self.programs:
            if claimants := one.claimants(names):
                return claimants
        check = LeaseCheck(self.world)
        for host in hosts:
            host.watch_leases = check.applied
        return [Holder(self.world, self.plan, name, hosts, check) for name in names]

    def _deliver(self, message: Message) -> None:
        self.hosts[message.to].hear(message, self.hosts[message.sender].cluster)

    def show_to(self, collector: Collector | None) -> None:
        """Make a collector take the steps of all nodes."""
        for host in self.hosts.values():
            host.collector = collector

    def events(self, steps: int) -> Iterator[None]:
        """Run this many events with faults, then those of the healed cluster; yield before each.
        The schedule ends with the beginning of a second cluster."""
        try:
            self.first_starts()
            for _ in range(steps):
                yield
                self.world.step()
            yield from self._heal()
        except BeganAgain as again:
            if self.plan.options.patience is None:
                raise InvariantError(f"{again}, though no node has patience") from again
            self._has_two_clusters = True
            self.world.tell("act", f"> end: {again}")
            TwoClusters(
                self.world,
                self.plan,
                self.hosts,
                self._invariants,
                is_at_floor=self.upgrades.stays_at_floor,
            ).run()

    def first_starts(self) -> None:
        chance, latest_ms = self.world.random, 20 * self.plan.options.election_timeout_ms
        for host in self.hosts.values():
            host.disk.newborn = True
            if host.name in self.faults.births.held:
                continue
            if self.world.chance(self.plan.late_starts):
                self.world.counts["late starts"] += 1
                self.world.after(chance.randint(1, latest_ms), host.start)
            else:
                host.start()

    def _heal(self) -> Iterator[None]:
        """End all faults; the cluster must elect, serve, and agree in the end (liveness)."""
        self.world.tell("act", "> heal everything")
        self.faults.stop()
        for host in self.hosts.values():
            host.writer_pause_ms = int
        self.operator.stop()
        self.upgrades.finish()
        self.guests.finish()
        self.proofs.finish()
        served, disks = len(self.history) + 4 * len(self.clients), self.faults.disks
        committed = disks.committed_elsewhere() if disks.has_hung_disk else -1
        hung = self.faults.hung
        yield from self._until("end a change", lambda: hung.has_ended_change)
        hung.restart()
        yield from self._until("let every user in", self.guests.are_settled)
        yield from self._until("serve", lambda: len(self.history) >= served)
        yield from self._until("commit", lambda: disks.committed_elsewhere() > committed)
        disks.replace_disks()
        for locker in self.lockers:
            locker.begin_last_round()
        found = [each.found for each in self.searchers]
        if found:
            within_ms = FOUND_WITHIN_TIMEOUTS * self.plan.options.election_timeout_ms
            yield from self._until("let itself be found", lambda: self._is_found(found), within_ms)
        asking: list[MachineRunner | Searcher | Program] = [
            *self.clients,
            *self.dealers,
            *self.searchers,
        ]
        for client in (*asking, *self.holders, *self.talkers, *self.watch_clients):
            client.stop()
        if self.foreman is not None:
            self.foreman.stop()
        yield from self._until("let all have their locks", self._have_had_locks, WATCH_WITHIN_MS)
        for locker in self.lockers:
            locker.stop()
        asking += self.lockers
        yield from self._until("settle", lambda: all(client.waiting is None for client in asking))
        yield from self._until("let leases end", self._has_no_leases)
        yield from self._until("answer its reads", self._has_answered_reads)
        yield from self._until("agree", self._agree)
        yield from self._until(
            "have an identity", lambda: self.upgrades.have_identity(self._members())
        )
        yield from self._until("agree", self._agree)
        reader = self._client("reader")
        reader.stop()
        for key in "abc"[: self.plan.keys]:
            yield from self._read(reader, key)
        yield from self._until("report ready", self._are_ready)
        yield from self._until(
            "agree", self._agree
        )  # once more: a node may have died during its snapshot
        yield from self._until(
            "bring its watches up to date", self._watches_are_current, WATCH_WITHIN_MS
        )
        yield from self._until("agree", self._agree)  # an abandoned request may have arrived late
        for watch in self.machines:
            watch.stop()

    def _read(self, reader: SimulatedClient, key: str) -> Iterator[None]:
        """Read until there is an answer, so that the history includes the final values."""
        operations = self.history.operations
        known = len(operations)

        def answered() -> bool:
            if reader.waiting is None:
                if any(o.returned_at is not None for o in operations[known:]):
                    return True
                reader.ask("get", key)
            return False

        yield from self._until(f"read {key}", answered)

    def _watches_are_current(self) -> bool:
        """Whether each watch that knows a member has all events."""
        members = self._members()
        names = {host.name for host in members}
        has_watches = not any(host.manager.store.is_at_floor for host in members)
        return bool(names) and all(
            each.is_current or not each.knows(names) for each in self.machines if has_watches
        )

    def _until(self, what: str, is_so: Callable[[], bool], within_ms: int = 0) -> Iterator[None]:
        """Run until the condition holds. A node that is far behind gets time, as long as it catches
        up."""
        within_ms = within_ms or SERVE_WITHIN_TIMEOUTS * self.plan.options.election_timeout_ms
        deadline_ms, held = self.world.now_ms + within_ms, 0
        while not is_so():
            if self.world.now_ms > deadline_ms:
                before, held = held, self._held(what)
                if held == before:
                    raise AssertionError(
                        f"after the last fault the cluster does not {what} within {within_ms} ms"
                    )
                deadline_ms += within_ms
            yield
            self.world.step()

    def _held(self, what: str) -> int:
        """Return the nodes' progress in receiving a snapshot or entries, which alone don't show
        that requests are served."""
        states = [host.node.view for host in self.hosts.values() if host.node is not None]
        received = sum(state.arriving_bytes for state in states)
        # All nodes must catch up for these, even one that has just a snapshot. A read waits at a
        # node that is behind.
        catches_up = what in ("agree", "let leases end", "answer its reads")
        return received + (sum(state.applied for state in states) if catches_up else 0)

    def _members(self) -> list[Host]:
        """Return the final members of the cluster, none while a change is open."""
        for host in self.hosts.values():
            state = host.node._state if host.node is not None else None
            if state is None or state.leading is None:
                continue
            members = state.configurations.latest
            if not members.outgoing and state.leading.pending_change is None:
                return [self.hosts[name] for name in members.names]
        return []

    def _is_found(self, before: Sequence[int]) -> bool:
        """Whether each search that knows a member has ended since."""
        led = leaders(self.hosts.values())  # a change of members may stay pending
        names = {name for _, view in led for name in view.membership.names}
        return bool(names) and all(
            each.found > found or not each.knows(names)
            for each, found in zip(self.searchers, before, strict=True)
        )

    def _are_ready(self) -> bool:
        """Whether each member reports that it serves, if there are onlookers."""
        return self.onlookers.see_ready([host.name for host in self._members()])

    def _have_had_locks(self) -> bool:
        """Whether each program that knows a member has held all of its locks once more."""
        names = {name for _, view in leaders(self.hosts.values()) for name in view.membership.names}
        return all(each.is_through or not each.knows(names) for each in self.lockers)

    def _has_answered_reads(self) -> bool:
        return not any(host.requests.reading for host in self._members())

    def _has_no_leases(self) -> bool:
        """Whether all leases have expired at each member, with their keys."""
        for host in self._members():
            store = host.manager.store
            if store.leases.granted or store.leased:
                return False
        return True

    def _agree(self) -> bool:
        members = self._members()
        cores = [host.node.view for host in members if host.node is not None]
        ends = {(core.log.last_index, core.commit_index, core.applied) for core in cores}
        if len(ends) != 1:
            return False
        ((last_index, commit_index, applied),) = ends
        return (
            len(cores) == len(members)
            and all(host.disk.whole for host in members)
            and last_index == commit_index == applied
        )

    def judge(self) -> None:
        """Check that all members know the same ones and their addresses, that all state machines
        are equal, and that the history is linearizable."""
        if self._has_two_clusters:
            return
        managers = [host.manager for host in self._members()]
        known = {str(host.view.membership) for host in self._members() if host.view is not None}
        assert len(known) == 1, f"the members differ: {known}"
        machines = [_machine(one) for one in managers]
        if any(other != machines[0] for other in machines):
            raise AssertionError(f"the state machines differ: {machines}")
        self.world.counts["hand-written logs that won"] += "hand" in managers[0].store
        self.history.judge_counter(int(managers[0].store.get(COUNTER, "0")))
        problems = self.ledger.findings(managers[0].store)
        assert not problems, problems
        for one in self.programs:
            one.judge(managers[0].store)
        if self.foreman is not None:
            self.foreman.judge(json.loads(managers[0].store.get(jobs_machine.NAME, "[]")))
        for talker in (*self.talkers, *self.faults.crowds.all):
            talker.judge(managers[0].store.get(talker.name))
        self.history.journal.judge(managers[0].store.get(JOURNAL, ""))
        self.world.counts["search steps"] += self.history.judge()


def _machine(manager: Manager) -> tuple[object, ...]:
    """Return the content of a state machine."""
    store = manager.store
    pairs = {key: (value, store.facts(key)) for key, value in store.items()}
    sizes = sizes_of(store.held)
    assert (sizes.bytes, sizes.accounts.bytes) == (store.pair_bytes, store.accounts.bytes)
    table = list(manager.state.sessions.dump())
    users = store.users.format()
    return store.is_at_floor, pairs, table, store.leases.copy(), store.accounts.bytes, users
