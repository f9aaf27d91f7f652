"""The programs of recipes in a schedule (virtual/schedule.py), which the plan counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from raftline.state.store import Store
from raftline_testing.virtual.nodes.manager import Manager
from raftline_testing.virtual.nodes.simulated_node import Host
from raftline_testing.virtual.world.plan import Plan
from raftline_testing.virtual.world.world import World
from raftline_testing.workloads.client_history import History

from .claimants import Claimant, ClaimCheck
from .groups import Member
from .lockchecks import LockCheck
from .lockers import Locker
from .sharers import Sharer
from .workers import Worker

# Programs with exclusive locks, programs that also share them, workers, and members of groups.
LOCKER_KINDS: tuple[type[Locker], ...] = (Locker,) * 3 + (Sharer,) * 3 + (Worker,) * 2


class Programs:
    """Clients that take locks and jobs by single lines, and programs that use `raftline`."""

    def __init__(self, world: World, plan: Plan, hosts: Sequence[Host]) -> None:
        self._world, self._plan, self._hosts = world, plan, hosts
        self._claims = ClaimCheck(world)

    def claimants(self, names: Sequence[str]) -> Sequence[Claimant]:
        """Return the holders of leases that take locks and jobs as well, if there are any."""
        if not self._plan.claims:
            return []
        for host in self._hosts:
            host.watch_leases = self._claims.applied
        world, plan, hosts = self._world, self._plan, self._hosts
        return [Claimant(world, plan, name, hosts, self._claims) for name in names]

    def lockers(self, history: History, seed: int) -> Sequence[Locker]:
        """Return the programs that take locks; they need a cluster above the floor."""
        if not self._plan.lockers:
            return []
        check = LockCheck(self._world)
        for host in self._hosts:
            host.watch_leases = partial(_both, host.watch_leases, check.applied)
        chance = Random(f"lockers {seed}")
        names = [f"locker{number}" for number in range(1, self._plan.lockers + 1)]
        kinds = [*LOCKER_KINDS, *[Member] * len(names)][: len(names)]
        return [
            kind(self._world, self._plan, name, self._hosts, history, check, chance)
            for kind, name in zip(kinds, names, strict=True)
        ]

    def judge(self, store: Store) -> None:
        """Check what is left of the jobs."""
        self._claims.claims.judge(store)


def _both(
    first: Callable[[Manager], None], second: Callable[[Manager], None], manager: Manager
) -> None:
    first(manager)
    second(manager)
