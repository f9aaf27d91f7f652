"""The disks of a majority are lost, and come back: until then the nodes must wait.

The nodes have no patience (raft/newborn.py): without files they begin a cluster only once all
others of their configuration have shown that they have none either. Half the time the nodes with
the entries are away meanwhile, so that nobody can tell of a history.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...invariants import InvariantError
from ..nodes.simulated_disk import Copy
from ..nodes.simulated_node import Host
from ..world.plan import Plan
from ..world.world import World
from .diskfaults import undisputed_leader

AWAY_TIMEOUTS = 30  # election timeouts until the disks are back


class LostMajority:
    """The wipe of a majority, and what its operator does about it."""

    def __init__(self, world: World, plan: Plan, hosts: Sequence[Host]) -> None:
        self._world = world
        self._hosts = hosts
        self._has_patience = plan.options.patience is not None
        self._away_ms = AWAY_TIMEOUTS * plan.options.election_timeout_ms
        self._timeout_ms = plan.options.election_timeout_ms
        self._kept: dict[str, Copy] = {}  # the lost files
        self._left: list[Host] = []  # the nodes whose files are there

    @property
    def are_calm(self) -> bool:
        """Whether no other fault may happen."""
        return bool(self._kept)

    def stop(self) -> None:
        """Bring the disks back."""
        if self._kept:
            self._bring_back()

    def wipe(self, tell_lost: Callable[[Host], None]) -> None:
        """Lose the disks of a majority of the voters, all of which serve."""
        leader = undisputed_leader(self._hosts)
        if self._kept or self._has_patience or leader is None or leader.view is None:
            return
        voters = [host for host in self._hosts if host.name in leader.view.membership.voters]
        if not all(host.disk.has_vote for host in voters):
            return
        lost = self._world.random.sample(voters, len(voters) // 2 + 1)
        self._left = [host for host in self._hosts if host not in lost]
        if any({*host.members} <= {each.name for each in lost} for host in lost):
            return  # nobody whom their files name could tell them of the others
        self._world.counts["majorities wiped"] += 1
        for host in lost:
            self._world.tell("act", f"> lose all {host.name}")
            host.stop(power_cut=False)
            tell_lost(host)
            self._kept[host.name] = host.disk.take_away()
            host.may_be_said_new = False
            self._world.after(self._world.random.randint(0, self._timeout_ms), host.start)
        if self._world.chance(0.5):
            self._world.counts["majorities wiped while the others were away"] += 1
            for host in self._left:
                self._world.tell("act", f"> kill {host.name}")
                host.stop(power_cut=False)
                tell_lost(host)
        self._world.after(self._away_ms, self._judge)

    def _judge(self) -> None:
        """Check that the nodes without files wait, and bring the disks back."""
        if not self._kept:
            return  # the faults are over
        for host in self._hosts:
            view = host.view
            if host.name in self._kept and view is not None:
                if view.is_leader or not (view.newborn or view.recovering):
                    raise InvariantError(f"{host.name} lost its disk, and did not wait")
                self._world.counts["nodes that wait for a lost majority"] += 1
        self._bring_back()

    def _bring_back(self) -> None:
        for host in self._hosts:
            copy = self._kept.pop(host.name, None)
            if copy is not None:
                self._world.tell("act", f"> bring back {host.name}")
                host.stop(power_cut=False)
                host.disk.bring_back(copy)
            host.start()
