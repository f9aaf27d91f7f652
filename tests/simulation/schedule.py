"""One schedule from its seed to its verdict."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from unittest.mock import patch

from raftline.linearizable import Operation, Verdict, check
from raftline.raft import state
from raftline.raft.messages import Message
from tests.simulation.clients import Client
from tests.simulation.faults import Faults
from tests.simulation.host import Host
from tests.simulation.invariants import HonestInvariants
from tests.simulation.network import Network
from tests.simulation.plan import Plan, pick_plan
from tests.simulation.world import World

STEPS = 6000
SERVE_WITHIN_TIMEOUTS = 25  # election timeouts after the last fault; 7 were seen to do
SEARCH_STEPS_MAX = 300_000


class SimulationFailed(AssertionError):
    """A schedule that went wrong: what, how to see it again, and what came last."""


@dataclass(frozen=True)
class Outcome:
    """What one schedule went through."""

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
) -> Outcome:
    """Run a schedule of so many events with faults, then heal everything and judge.

    The seed decides on all that is not given.

    Raises:
        SimulationFailed: an invariant broke, the healed cluster did not serve, or what the
            clients saw could not have come from one copy of the data.
    """
    plan = pick_plan(random.Random(seed), nodes, faults)
    schedule = _Schedule(seed, plan, say)
    try:
        with patch.object(state, "APPLY_MAX", plan.apply_max):
            schedule.trouble(steps)
            schedule.heal()
            schedule.judge()
    except Exception as error:
        given = f" --nodes {nodes}" if nodes else ""
        given += f" --steps {steps}" if steps != STEPS else ""
        given += "".join(f" --fault '{kind}'" for kind in faults)
        lines = "\n".join(schedule.world.transcript())
        raise SimulationFailed(
            f"seed {seed}: {type(error).__name__}: {error}\n"
            f"see it again: python tests/simulation/simulate.py --seed {seed}{given} --verbose\n"
            f"{plan}\nthe last events:\n{lines}"
        ) from error
    world = schedule.world
    return Outcome(seed, plan.nodes, world.now_ms, world.events, world.counts)


class _Schedule:
    """A cluster, its clients and its faults in one world."""

    def __init__(self, seed: int, plan: Plan, say: Callable[[str], None] | None) -> None:
        self.plan = plan
        self.world = World(seed, say)
        names = [f"s{number}" for number in range(1, plan.nodes + 1)]
        members = {name: f"localhost:{port}" for port, name in enumerate(names, start=10000)}
        self.network = Network(self.world, plan, names)
        self.network.deliver = self._deliver
        invariants = HonestInvariants()
        self.hosts = {
            name: Host(self.world, plan, name, members, invariants, self.network.send)
            for name in names
        }
        self.history: list[Operation] = []
        self.clients = [self._client(f"client{number}") for number in range(1, plan.clients + 1)]
        self.faults = Faults(self.world, plan, self.network, list(self.hosts.values()))

    def _client(self, name: str) -> Client:
        return Client(self.world, self.plan, name, list(self.hosts.values()), self.history)

    def _deliver(self, message: Message) -> None:
        self.hosts[message.to].receive(message)

    def trouble(self, steps: int) -> None:
        """Let faults happen for so many events."""
        for host in self.hosts.values():
            host.start()
        for _ in range(steps):
            self.world.step()

    def heal(self) -> None:
        """End all faults; the cluster must elect, serve, and agree in the end (liveness)."""
        self.world.tell("> heal everything")
        self.faults.stop()
        served = len(self.history) + 4 * len(self.clients)
        self._until("serve", lambda: len(self.history) >= served)
        for client in self.clients:
            client.stopped = True
        self._until("settle", lambda: all(client.waiting is None for client in self.clients))
        self._until("agree", self._agree)
        reader = self._client("reader")
        reader.stopped = True
        for key in "abc"[: self.plan.keys]:
            self._read(reader, key)

    def _read(self, reader: Client, key: str) -> None:
        """Read until there is an answer, so that the history tells what is left in the end."""
        known = len(self.history)

        def answered() -> bool:
            if reader.waiting is None:
                if any(o.returned_at is not None for o in self.history[known:]):
                    return True
                reader.ask("get", key, None)
            return False

        self._until(f"read {key}", answered)

    def _until(self, what: str, is_so: Callable[[], bool]) -> None:
        within_ms = SERVE_WITHIN_TIMEOUTS * self.plan.options.election_timeout_ms
        deadline_ms = self.world.now_ms + within_ms
        while not is_so():
            if self.world.now_ms > deadline_ms:
                raise AssertionError(
                    f"after the last fault the cluster does not {what} within {within_ms} ms"
                )
            self.world.step()

    def _agree(self) -> bool:
        cores = [host.node.state for host in self.hosts.values() if host.node is not None]
        ends = {(core.log.last_index, core.commit_index, core.last_applied) for core in cores}
        last_index, commit_index, last_applied = min(ends)
        return (
            len(cores) == len(self.hosts)
            and all(host.disk.whole for host in self.hosts.values())
            and len(ends) == 1
            and last_index == commit_index == last_applied
        )

    def judge(self) -> None:
        """All state machines are equal, and the history is linearizable."""
        pairs = [host.manager.pairs for host in self.hosts.values()]
        if any(other != pairs[0] for other in pairs):
            raise AssertionError(f"the state machines differ: {pairs}")
        report = check(self.history, SEARCH_STEPS_MAX)
        self.world.counts["search steps"] += report.steps
        if report.verdict is not Verdict.LINEARIZABLE:
            lines = "\n  ".join(report.excerpt)
            raise AssertionError(f"history of {report.key}: {report.verdict.value}\n  {lines}")
