"""Clients of transactions, in schedules of faults."""

from __future__ import annotations

from collections.abc import Sequence

from ...workloads.ledger import Ledger
from ...workloads.transactor_machine import TransactorMachine
from ..nodes.request_interface import Server
from ..world.plan import Plan
from ..world.world import World
from .machine_runner import MachineRunner, mix_of


class Dealer(MachineRunner):
    """A client with one transaction at a time."""

    def __init__(
        self, world: World, plan: Plan, name: str, servers: Sequence[Server], ledger: Ledger
    ) -> None:
        counts = world.counts
        machine = TransactorMachine(name, mix_of(plan), world.random, world.tick, ledger, counts)
        super().__init__(world, plan, machine, servers)
