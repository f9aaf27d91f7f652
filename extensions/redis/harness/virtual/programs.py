"""Redis clients that use a list as a queue (redis/queue_machine.py), others that publish messages
and hear them (redis/message_machine.py), and others that change elements of hashes, sets and sorted
sets (redis/element_machine.py), each in some schedules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from raftline.state.store import Store
from raftline_testing.virtual.clients.machine_runner import MachineRunner
from raftline_testing.virtual.leases.lease_holders import Holder
from raftline_testing.virtual.nodes.simulated_node import Host
from raftline_testing.virtual.world.plan import Plan
from raftline_testing.virtual.world.world import World
from raftline_testing.workloads.client_history import History
from raftline_testing.workloads.workload_machine import WorkloadMachine

from ..command_machine import CommandMachine
from ..element_machine import ElementBeliefs, ElementMachine
from ..message_machine import MessageBeliefs, PublisherMachine
from ..queue_machine import ProducerMachine, QueueBeliefs, WorkerMachine
from ..redis_requests import Conversation, TalkRequest
from .redis_connection import Conversing
from .subscribers import Subscriber

SHARE = 1 / 2  # of the schedules with Redis clients that move money, for each of the first two
ELEMENTS_SHARE = 1 / 2
QUEUE_KINDS = (ProducerMachine, ProducerMachine, WorkerMachine, WorkerMachine, WorkerMachine)
KIND_NAMES: dict[Callable[..., CommandMachine], str] = {
    ProducerMachine: "producer",
    WorkerMachine: "worker",
    PublisherMachine: "publisher",
    ElementMachine: "element",
}
SUBSCRIBERS = 2
ELEMENT_CLIENTS = 3


@dataclass(eq=False)
class CommandRequest(TalkRequest, Conversing):
    """One command."""

    def conversation(self) -> Conversation:
        """Return the command."""
        return TalkRequest.conversation(self)


class CommandClient(MachineRunner):
    """A client that sends one command at a time."""

    def __init__(
        self,
        world: World,
        plan: Plan,
        machine: WorkloadMachine,
        hosts: Sequence[Host],
        beliefs: QueueBeliefs | MessageBeliefs | ElementBeliefs,
    ) -> None:
        super().__init__(world, plan, machine, hosts)
        self._beliefs = beliefs

    @property
    def is_through(self) -> bool:
        """Whether each acknowledged element has reached a worker."""
        return not isinstance(self._beliefs, QueueBeliefs) or self._beliefs.is_drained

    def begin_last_round(self) -> None:
        """Add and publish nothing more."""
        self._beliefs.is_closing = True

    def knows(self, names: set[str]) -> bool:
        """Whether it knows one of these nodes."""
        return not names.isdisjoint(self._servers)


class Programs:
    """The programs of one schedule (virtual/schedule.py)."""

    def __init__(self, world: World, plan: Plan, hosts: Sequence[Host]) -> None:
        self._world, self._plan, self._hosts = world, plan, hosts
        self._count = 0  # of the clients
        self._queue = QueueBeliefs(world.counts)
        self._messages = MessageBeliefs(world.counts)
        self._elements = ElementBeliefs(world.counts)

    def claimants(self, names: Sequence[str]) -> Sequence[Holder]:
        """Return no holders of leases."""
        return []

    def lockers(self, history: History, seed: int) -> Sequence[CommandClient | Subscriber]:
        """Return the clients, if there are any; dealers keep the cluster above the floor."""
        clients: list[CommandClient | Subscriber] = []
        if not (self._plan.is_mixed and self._plan.dealers):
            return clients
        if Random(f"redis queues {seed}").random() < SHARE:
            clients += [self._client(kind, self._queue, seed) for kind in QUEUE_KINDS]
        if Random(f"redis messages {seed}").random() < SHARE:
            clients += [self._client(PublisherMachine, self._messages, seed) for _ in range(2)]
            for number in range(1, SUBSCRIBERS + 1):
                name = f"subscriber{number}"
                chance = Random(f"{name} {seed}")
                clients.append(Subscriber(self._world, chance, name, self._hosts, self._messages))
        if Random(f"redis elements {seed}").random() < ELEMENTS_SHARE:
            kinds = [ElementMachine] * ELEMENT_CLIENTS
            clients += [self._client(kind, self._elements, seed) for kind in kinds]
        return clients

    def _client(
        self, kind: Callable[..., CommandMachine], beliefs: Any, seed: int
    ) -> CommandClient:
        world, plan = self._world, self._plan
        self._count += 1
        name = f"{KIND_NAMES[kind]}{self._count}"
        chance = Random(f"{name} {seed}")
        machine = kind(beliefs, name, chance, world.tick, plan.think_ms, CommandRequest)
        return CommandClient(world, plan, machine, self._hosts, beliefs)

    def judge(self, store: Store) -> None:
        """Check the lists at last, the orders of the messages, and the elements."""
        self._queue.judge(store)
        self._messages.judge(store)
        self._elements.judge(store)
