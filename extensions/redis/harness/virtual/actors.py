"""Clients that speak as Redis clients do: they read, write, count, append and move money.

They follow `MOVED`, and number nothing: a command of unknown outcome is not repeated.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from raftline_testing.virtual.clients.clients import SimulatedClient
from raftline_testing.virtual.clients.machine_runner import MachineRunner, mix_of
from raftline_testing.virtual.nodes.request_interface import Server
from raftline_testing.virtual.world.plan import Plan
from raftline_testing.virtual.world.world import World
from raftline_testing.workloads.client_history import History
from raftline_testing.workloads.client_request import ClientRequest
from raftline_testing.workloads.ledger import Ledger

from ..redis_requests import Conversation, RedisBankMachine, TalkRequest, conversation_of
from .redis_connection import Conversing

SHARE = 1 / 2  # of schedules whose faults are drawn; the other ones stay the same


@dataclass(eq=False)
class RedisClientRequest(ClientRequest, Conversing):
    """One request, as a command."""

    def conversation(self) -> Conversation:
        """Return the command; it may be a transaction."""
        return conversation_of(self, int(self.called_at))


class RedisClient(SimulatedClient):
    """A client with one command at a time."""

    request_type = RedisClientRequest

    def __init__(
        self, world: World, plan: Plan, name: str, servers: Sequence[Server], history: History
    ) -> None:
        super().__init__(world, plan, name, servers, history)
        self.machine.numbers = False

    def answered(self, request: ClientRequest, reply: str) -> None:
        """Take the reply."""
        self._world.counts["commands of Redis clients answered"] += not request.settled
        super().answered(request, reply)


@dataclass(eq=False)
class RedisDealerRequest(TalkRequest, Conversing):
    """A request of a dealer, as commands."""

    def conversation(self) -> Conversation:
        """Return the commands."""
        return TalkRequest.conversation(self)


class RedisDealer(MachineRunner):
    """A client with one conversation at a time."""

    def __init__(
        self,
        world: World,
        plan: Plan,
        name: str,
        servers: Sequence[Server],
        ledger: Ledger,
        seed: int,
    ) -> None:
        parts = (mix_of(plan), world.random, world.tick, ledger, world.counts)
        machine = RedisBankMachine(seed, name, *parts, request_type=RedisDealerRequest)
        super().__init__(world, plan, machine, servers)


# --- the seam (virtual/schedule.py) --------------------------------------------------------------

client, dealer = RedisClient, RedisDealer


def planned(plan: Plan, seed: int) -> Plan:
    """Return a plan in which, in some schedules, half of the clients speak as Redis clients do."""
    is_mixed = random.Random(f"redis {seed}").random() < SHARE
    return replace(plan, is_mixed=plan.is_mixed or is_mixed)
