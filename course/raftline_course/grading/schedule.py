"""One schedule for a hand-in: the virtual world with its core instead of raftline's."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from raftline.picture.harness.judging.collected import Collector
from raftline.raft.effects import HardState
from raftline.raft.membership import Membership
from raftline.raft.messages import Message
from raftline_course.grading.isolation.remote import begin
from raftline_course.grading.isolation.servers import HandInRun, Print
from raftline_course.grading.rules import CoreInvariants
from raftline_testing.virtual.clients.clients import SimulatedClient
from raftline_testing.virtual.faults.churn import Operator
from raftline_testing.virtual.faults.faults import Faults
from raftline_testing.virtual.nodes.simulated_disk import Disk
from raftline_testing.virtual.nodes.simulated_node import Host, leaders
from raftline_testing.virtual.world.network import Network
from raftline_testing.virtual.world.plan import NEVER, Plan, pick_plan
from raftline_testing.virtual.world.world import World
from raftline_testing.workloads.client_history import History
from raftline_testing.workloads.client_request import COUNTER
from raftline_testing.workloads.journal import JOURNAL

SERVE_WITHIN_TIMEOUTS = 75
EVENTS_MAX = 10_000
LEAD_WITHIN_TIMEOUTS = 30  # for a calm cluster, without clients


class Schedule:
    """A cluster of one hand-in's cores, its clients and its faults in one world."""

    def __init__(
        self,
        seed: int,
        plan: Plan,
        servers: HandInRun,
        collector: Collector | None = None,
        say: Print | None = None,
        *,
        timeouts: int = 0,
        quorum_check: bool = False,
        replicates: bool = True,
        in_order: bool = False,
    ) -> None:
        self.plan, self._timeouts = plan, timeouts
        self._replicates, self._in_order = replicates, in_order
        self._under_way: dict[tuple[str, str], list[Message]] = {}
        self.world = World(random.Random(seed), say)
        names = [f"s{number}" for number in range(1, plan.nodes + plan.spares + 1)]
        addresses = {name: f"localhost:{port}" for port, name in enumerate(names, start=10000)}
        members = {name: addresses[name] for name in names[: plan.nodes]}
        self.network = Network(self.world, plan, names)
        self.network.deliver = self._deliver
        voters = Membership(tuple(members), addresses=members)
        invariants = CoreInvariants(voters, quorum_check=quorum_check)
        self.hosts = {
            name: Host(
                self.world,
                plan,
                name,
                members if name in members else {},
                invariants,
                self._send,
                Disk(self.world, name),
            )
            for name in names
        }
        make_node: Callable[..., Any] = partial(begin, servers)
        for host in self.hosts.values():
            host.make_node = make_node
            host.collector = collector
            host.requests.may_ask = False  # a hand-in gets no reads at followers
            host.disk.fill(members if host.name in members else {}, HardState(0, None), [])
        self.history = History()
        hosts = list(self.hosts.values())
        self.clients = [self._client(f"client{number}") for number in range(1, plan.clients + 1)]
        self.faults = Faults(self.world, plan, self.network, hosts) if plan.faults else None
        self.operator = Operator(self.world, plan, hosts, addresses)

    def _client(self, name: str) -> SimulatedClient:
        return SimulatedClient(self.world, self.plan, name, list(self.hosts.values()), self.history)

    def _send(self, message: Message) -> bool:
        is_sent = self.network.send(message)
        if is_sent and self._in_order:
            self._under_way.setdefault((message.sender, message.to), []).append(message)
        return is_sent

    def _deliver(self, message: Message) -> None:
        """Deliver a message; if the links keep the order, deliver earlier ones first."""
        arrived = [message]
        if self._in_order:
            sent = self._under_way[message.sender, message.to]
            end = sent.index(message) + 1 if message in sent else 0
            arrived, sent[:end] = sent[:end], []
        for one in arrived:
            if one.to in self.hosts:
                self.hosts[one.to].hear(one)

    def events(self) -> Iterator[None]:
        """Start all, let faults happen for `timeouts` election timeouts, then heal everything and
        judge; yield before each event.

        Raises:
            Exception: an invariant broke, the healed cluster did not serve, or the history is
                wrong.
        """
        yield from self._begin()
        until_ms = self.world.now_ms + self._timeouts * self.plan.options.election_timeout_ms
        while self.world.now_ms < until_ms and self.world.events < EVENTS_MAX:
            yield
            self.world.step()
        yield from self._heal()
        self._judge()

    def _begin(self) -> Iterator[None]:
        """Start all; a cluster without faults must elect a leader soon."""
        for host in self.hosts.values():
            host.start()
        if not self.plan.faults:
            within_ms = LEAD_WITHIN_TIMEOUTS * self.plan.options.election_timeout_ms
            hint = "; is each election timeout drawn by pick_timeout_ms?"
            yield from self._until(
                "elect a leader", lambda: bool(leaders(self.hosts.values())), within_ms, hint
            )

    def _heal(self) -> Iterator[None]:
        """End all faults; the cluster must elect, serve, and agree in the end (liveness). If no
        entry reaches a follower yet, it must elect."""
        self.world.tell("act", "> heal everything")
        if self.faults is not None:
            self.faults.stop()
        self.network.calm_down()
        self.operator.stop()
        if not self._replicates:
            yield from self._until("elect a leader", self._is_led)
            return
        if self.clients:
            served = len(self.history) + 3 * len(self.clients)
            yield from self._until("serve its clients", lambda: len(self.history) >= served)
        for client in self.clients:
            client.stop()
        yield from self._until("settle", self._has_settled)
        yield from self._until("answer its reads", self._has_answered_reads)
        yield from self._until("agree", self._agree)

    def _until(
        self, what: str, is_so: Callable[[], bool], within_ms: int = 0, hint: str = ""
    ) -> Iterator[None]:
        """Run until the condition holds; a server that is still catching up gets more time."""
        within_ms = within_ms or SERVE_WITHIN_TIMEOUTS * self.plan.options.election_timeout_ms
        deadline_ms, held = self.world.now_ms + within_ms, -1
        while not is_so():
            if self.world.now_ms > deadline_ms:
                states = [host.view for host in self.hosts.values() if host.view is not None]
                before, held = held, sum(state.applied for state in states)
                if held == before or what != "agree":
                    raise AssertionError(f"the cluster does not {what} within {within_ms} ms{hint}")
                deadline_ms += within_ms
            yield
            self.world.step()

    def _members(self) -> list[Host]:
        for _, view in leaders(self.hosts.values()):
            if not view.membership.is_joint:
                return [self.hosts[name] for name in view.membership.names]
        return []

    def _is_led(self) -> bool:
        """Whether one server leads, and all others follow it."""
        views = [host.view for host in self.hosts.values()]
        found = [view.name for _, view in leaders(self.hosts.values())]
        return len(found) == 1 and all(
            view is not None and view.leader == found[0] for view in views
        )

    def _has_settled(self) -> bool:
        return all(client.waiting is None for client in self.clients)

    def _has_answered_reads(self) -> bool:
        return not any(host.requests.reading for host in self._members())

    def _agree(self) -> bool:
        members = self._members()
        views = [host.node.view for host in members if host.node is not None]
        ends = {(view.log.last_index, view.commit_index, view.applied) for view in views}
        return len(views) == len(members) > 0 and len(ends) == 1 and len({*next(iter(ends))}) == 1

    def _judge(self) -> None:
        """Check that all state machines are equal, and the history is linearizable."""
        pairs = [dict(host.manager.store) for host in self._members()]
        if any(other != pairs[0] for other in pairs):
            raise AssertionError(f"the state machines differ: {pairs}")
        self.history.judge_counter(int(pairs[0].get(COUNTER, "0")))
        self.history.journal.judge(pairs[0].get(JOURNAL, ""))
        self.history.judge()


def plan_of(seed: int, nodes: int, faults: tuple[str, ...], given: Mapping[str, object]) -> Plan:
    """Return a plan: chance draws the values that a milestone doesn't fix."""
    chance = random.Random(seed)
    drawn = pick_plan(chance, nodes, faults or ("heal",))
    timeout_ms = drawn.options.election_timeout_ms
    options = replace(
        drawn.options,
        lease=False,
        trailing_bytes=0,
        chunk_window=1,
        batch_entries=2000,
        batch_bytes=1 << 20,
        window=8,
        chunk_bytes=chance.choice([20, 150, 1 << 18]),
    )
    calm: dict[str, object] = {
        "loss": 0, "duplicates": 0, "late": 0, "replays": 0, "delay_ms": 10, "disk_ms": 2,
        "compact_bytes": NEVER, "pause_ms": 5, "spares": 0, "change_every_ms": 0,
        "sessions_max": 4096,
        "session_window": 128, "restarts_differ": 0, "late_starts": 0, "by_hand": 0,
        "nonmember_every_ms": 0, "said_new": 0, "dealers": 0, "holders": 0, "clients": 3,
        "faults": list(drawn.faults) if faults else [], "apply_max": 4096,
        "logged_reads": 1,  # milestone 9 is the first one that serves a read without an entry
        "fault_every_ms": timeout_ms * chance.choice([1, 2, 4]), "think_ms": (30, 100),
    }  # fmt: skip
    picked = {**calm, **given}
    for name, value in picked.items():
        if isinstance(value, tuple):  # a choice
            picked[name] = chance.choice(value)
    picked["change_every_ms"] = timeout_ms * int(str(picked["change_every_ms"]))
    return replace(drawn, options=options, **picked)  # type: ignore[arg-type]
