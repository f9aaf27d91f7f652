"""The programs with the client library in a schedule (virtual/schedule.py)."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from types import ModuleType

from raftline.clients.requests import search
from raftline_testing.virtual.nodes.node_events import Watching
from raftline_testing.virtual.nodes.simulated_node import Host
from raftline_testing.virtual.world.plan import Plan
from raftline_testing.virtual.world.world import World
from raftline_testing.workloads.client_history import History

from .machinewatch import MachineWatch
from .searchers import Searcher

MACHINES = (0, 0, 1)  # watches with the machine of raftline's clients


def bounds(plan: Plan) -> Sequence[tuple[ModuleType, str, int]]:
    """Return the constants that the plan sets in modules of the library."""
    return [(search, "WINDOW", min(search.WINDOW, plan.session_window))]


def searchers(
    world: World, plan: Plan, hosts: Sequence[Host], history: History
) -> Sequence[Searcher]:
    """Return the clients that run the search of raftline's own clients."""
    names = [f"searcher{number}" for number in range(1, plan.searchers + 1)]
    return [Searcher(world, plan, name, hosts, history) for name in names]


def machines(
    world: World, hosts: Sequence[Host], watching: Watching, addresses: dict[str, str], seed: int
) -> Sequence[MachineWatch]:
    """Return the programs that watch."""
    chance = Random(f"machines {seed}")
    names = [f"machine{number}" for number in range(chance.choice(MACHINES))]
    return [MachineWatch(world, chance, name, hosts, watching, addresses) for name in names]
