"""A disk that is lost before all members of a cluster have run.

A majority of the members starts and serves, and the others are held back. Then one loses its disk,
those with the entries are away for longer than newborn nodes wait, and the others start for the
first time: nodes without entries begin again (second_beginning.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..nodes.simulated_node import Host
from ..world.plan import Plan
from ..world.world import World
from .churn import can_lose
from .diskfaults import undisputed_leader

AWAY_TIMEOUTS = 20  # election timeouts; newborn nodes wait for 6


class Births:
    """The members that are held back, and the wipe of one of the others."""

    def __init__(self, world: World, plan: Plan, hosts: Sequence[Host]) -> None:
        self._world = world
        self._timeout_ms = plan.options.election_timeout_ms
        self._hosts = hosts
        members = [host for host in hosts if host.members]
        self.held: set[str] = set()
        self._calm_until_ms = 0
        if "wipe at birth" in plan.faults and len(members) % 2:
            held = world.random.sample(members, len(members) // 2)
            self.held = {host.name for host in held}

    @property
    def are_calm(self) -> bool:
        """Whether no other fault may happen."""
        return self._world.now_ms < self._calm_until_ms

    def stop(self) -> None:
        """Start the nodes that are held back."""
        for host in self._hosts:
            if host.name in self.held:
                host.start()
        self.held.clear()

    def wipe(self, tell_lost: Callable[[Host], None]) -> None:
        """Wipe a member, keep the others with entries away, and start the rest; half the time, no
        other fault happens meanwhile."""
        running = [host for host in self._hosts if host.node is not None]
        leader = undisputed_leader(running)
        if not self.held or leader is None or leader.view is None or not leader.view.commit_index:
            return
        chance, names = self._world.random, leader.view.membership.voters
        wiped = chance.choice([host for host in running if host.name in names])
        if not can_lose(self._hosts, wiped.name, with_new=True):
            return  # the members have changed
        self._world.counts["wipes at birth"] += 1
        for host in running:
            self._world.tell("act", f"> kill {host.name}")
            host.stop(power_cut=False)
            tell_lost(host)
            if host is not wiped:
                self._world.after(AWAY_TIMEOUTS * self._timeout_ms, host.start)
        self._world.tell("act", f"> lose all {wiped.name}")
        wiped.may_be_said_new = False
        wiped.disk.lose_all(trace=True)
        for host in (wiped, *(host for host in self._hosts if host.name in self.held)):
            self._world.after(chance.randint(0, self._timeout_ms), host.start)
        self.held.clear()
        if chance.random() < 0.5:
            self._calm_until_ms = self._world.now_ms + AWAY_TIMEOUTS * self._timeout_ms
