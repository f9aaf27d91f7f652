"""Simulated holders of leases, and the check that none of their leases ends early.

A holder's clock is almost a tenth slower than the leader's: the most that the promise allows.
"""

from __future__ import annotations

from collections.abc import Sequence

from raftline.logmanager import LogManager
from raftline.wire.operands.lease_operands import OWN

from ...workloads.holder_machine import HolderMachine, LeaseBeliefs
from ..clients.machine_runner import MachineRunner
from ..nodes.request_interface import Server
from ..world.plan import Plan
from ..world.world import World

HOLDER_PERMILLE = 1001  # so that the fastest node (Plan.clock_of) is not a tenth faster


class LeaseCheck(LeaseBeliefs):
    """The comparison of the holders' beliefs with the applied entries of nodes."""

    def __init__(self, world: World) -> None:
        self._world = world
        # held until then: a lease, or a key with its own lease
        self._until_ms: dict[str, float] = {}
        self._there: set[str] = set()  # existing leases in the latest applied state
        self._ended_ms: dict[str, int] = {}
        self._latest = 0  # the last entry of that state

    def confirmed(self, name: str, seconds: int, sent: float) -> None:
        """Record that a holder learns of a grant for a request first sent at `sent`.

        Raises:
            AssertionError: the lease ended, and this holder would still hold it.
        """
        until_ms = sent + seconds * 1_000_000 / HOLDER_PERMILLE
        self._until_ms[name] = max(self._until_ms.get(name, 0), until_ms)
        self._world.counts["leases confirmed"] += 1
        self._judge(name)

    def refused(self, name: str) -> None:
        """Record that a holder learns that its lease is gone.

        Raises:
            AssertionError: it still holds the lease.
        """
        self._ended_ms.setdefault(name, self._world.now_ms)
        self._judge(name)
        self.given_up(name)

    def given_up(self, name: str) -> None:
        """Record that a holder has released its lease."""
        self._until_ms.pop(name, None)

    def applied(self, manager: LogManager) -> None:
        """Check a node that has applied entries, or installed a snapshot.

        Raises:
            AssertionError: a lease is gone there, but its holder still holds it.
        """
        if manager.applied.index <= self._latest:
            return
        self._latest = manager.applied.index
        store = manager.store
        own = [keys for lease, keys in store.leased.items() if lease.startswith(OWN)]
        there = {*store.leases.granted, *(key for keys in own for key in keys)}
        for name in self._there - there:
            self._ended_ms[name] = self._world.now_ms
            self._world.counts["leases ended"] += 1
            self._judge(name)
        self._there = there

    def _judge(self, name: str) -> None:
        ended_ms, until_ms = self._ended_ms.get(name), self._until_ms.get(name, 0)
        if ended_ms is not None and ended_ms < until_ms:
            raise AssertionError(
                f"{name} ended at {ended_ms}, and its holder holds it until {until_ms:.0f}"
            )


class Holder(MachineRunner):
    """A client with one lease at a time."""

    def __init__(
        self, world: World, plan: Plan, name: str, servers: Sequence[Server], check: LeaseCheck
    ) -> None:
        machine = self._machine_of(world, name, check)
        super().__init__(world, plan, machine, servers)

    def _machine_of(self, world: World, name: str, check: LeaseCheck) -> HolderMachine:
        return HolderMachine(name, world.random, world.time_ms, check, world.counts)

    def stop(self) -> None:
        """Send nothing new after the present rest; leases expire."""
        self.stopped = self._machine.stopped = True
