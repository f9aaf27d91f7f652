"""Clients that read, write, count and append, in schedules of faults."""

from __future__ import annotations

from collections.abc import Sequence

from ...workloads.client_history import History
from ...workloads.client_machine import ClientMachine
from ...workloads.client_request import ClientRequest, Verb
from ..nodes.request_interface import Server
from ..world.plan import Plan
from ..world.world import World
from .machine_runner import MachineRunner, mix_of


class SimulatedClient(MachineRunner):
    """A client with one request at a time."""

    request_type = ClientRequest

    def __init__(
        self, world: World, plan: Plan, name: str, servers: Sequence[Server], history: History
    ) -> None:
        mix, counts = mix_of(plan), world.counts
        self.machine = ClientMachine(
            name, mix, world.random, world.tick, history, counts, self.request_type
        )
        super().__init__(world, plan, self.machine, servers)

    def ask(self, verb: Verb, key: str) -> None:
        """Send a request to some node."""
        self.run(self.machine.asking(self.machine.request(verb, key)))
