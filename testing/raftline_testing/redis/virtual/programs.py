"""Redis clients that use a list as a queue (redis/queue_machine.py), in some schedules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from raftline.state.store import Store

from ...virtual.clients.machine_runner import MachineRunner
from ...virtual.leases.lease_holders import Holder
from ...virtual.nodes.simulated_node import Host
from ...virtual.world.plan import Plan
from ...virtual.world.world import World
from ...workloads.client_history import History
from ..queue_machine import ProducerMachine, QueueBeliefs, WorkerMachine
from ..redis_requests import Conversation, TalkRequest
from .redis_connection import Conversing

SHARE = 1 / 2  # of the schedules with Redis clients that move money
KINDS = (ProducerMachine, ProducerMachine, WorkerMachine, WorkerMachine, WorkerMachine)


@dataclass(eq=False)
class QueueRequest(TalkRequest, Conversing):
    """A command on a list."""

    def conversation(self) -> Conversation:
        """Return the command."""
        return TalkRequest.conversation(self)


class QueueClient(MachineRunner):
    """A producer or a worker."""

    def __init__(
        self,
        world: World,
        plan: Plan,
        machine: ProducerMachine | WorkerMachine,
        hosts: Sequence[Host],
        beliefs: QueueBeliefs,
    ) -> None:
        super().__init__(world, plan, machine, hosts)
        self._beliefs = beliefs

    @property
    def is_through(self) -> bool:
        """Whether each acknowledged element has reached a worker."""
        return self._beliefs.is_drained

    def begin_last_round(self) -> None:
        """Add nothing more."""
        self._beliefs.is_closing = True

    def knows(self, names: set[str]) -> bool:
        """Whether it knows one of these nodes."""
        return not names.isdisjoint(self._servers)


class Programs:
    """The programs of one schedule (virtual/schedule.py)."""

    def __init__(self, world: World, plan: Plan, hosts: Sequence[Host]) -> None:
        self._world, self._plan, self._hosts = world, plan, hosts
        self._beliefs = QueueBeliefs(world.counts)

    def claimants(self, names: Sequence[str]) -> Sequence[Holder]:
        """Return no holders of leases."""
        return []

    def lockers(self, history: History, seed: int) -> Sequence[QueueClient]:
        """Return the producers and workers, if there are any; dealers keep the cluster above the
        floor."""
        world, plan, beliefs = self._world, self._plan, self._beliefs
        is_on = plan.is_mixed and plan.dealers and Random(f"redis queues {seed}").random() < SHARE
        if not is_on:
            return []
        clients = []
        for number, kind in enumerate(KINDS, start=1):
            name = f"{kind.__name__.removesuffix('Machine').lower()}{number}"
            chance = Random(f"{name} {seed}")
            parts = (name, chance, world.tick, beliefs, plan.think_ms, QueueRequest)
            clients.append(QueueClient(world, plan, kind(*parts), self._hosts, beliefs))
        return clients

    def judge(self, store: Store) -> None:
        """Check where the elements are at last."""
        self._beliefs.judge(store)
