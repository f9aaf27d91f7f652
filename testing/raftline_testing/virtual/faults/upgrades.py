"""The builds of the nodes in a schedule, and how they are upgraded one by one.

A separate source of chance picks them: the rest of a schedule stays the same. Most schedules run
above the floor from their first entry on, as real nodes do. In some, all nodes stay at the floor.
In the others, nodes begin at the floor, and leave it while they are down.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

from ..nodes.simulated_node import Host
from ..world.network import Links
from ..world.plan import Plan
from ..world.world import World
from .announcements import Announcements

AT_THE_FLOOR = (True, True)  # whether nodes begin at the floor, and whether they stay there
ABOVE = (False, False)
FROM_THE_FLOOR = (True, False)
KINDS = (AT_THE_FLOOR, *[ABOVE] * 5, *[FROM_THE_FLOOR] * 2, *[ABOVE] * 2)
# Builds at the floor can't notice these: their cluster has no identity, and tells nobody of a loss.
ABOVE_THE_FLOOR = ("older files", "foreign files", "wipe at birth")
SHARES = (0.3, 0.7, 1.0)  # of those that begin at the floor among the nodes


class Upgrades:
    """Starts of some nodes at the floor, and upgrades of nodes that are down."""

    def __init__(
        self,
        world: World,
        plan: Plan,
        links: Links,
        hosts: Sequence[Host],
        seed: int,
        *,
        has_users: bool,
    ) -> None:
        self._chance = random.Random(f"levels of {seed}")
        self._world = world
        self._hosts = hosts
        self._pause_ms = plan.options.election_timeout_ms // 2
        kind = self._chance.choice(KINDS)
        if plan.by_hand:
            # A late node with a log written by hand may wait for ever, if a spare leads by then:
            # the spare is in the later term, and doesn't know that member. Upgrading all at once
            # would cause that.
            kind = self._chance.choice([AT_THE_FLOOR, ABOVE])
        elif kind[0] and self._needs_identity(plan, has_users=has_users):
            kind = ABOVE
        begins, self.stays_at_floor = kind
        self.begins_above_the_floor = not begins
        share = self._chance.choice(SHARES)
        for host in hosts:
            host.is_at_floor = begins if self._chance.random() < share else self.stays_at_floor
        self._announce = partial(Announcements, world, links, hosts, seed, plan.delay_ms)
        if not self.stays_at_floor:
            self._begin()

    def _begin(self) -> None:
        self._announce()
        self._world.after(self._pause_ms, self._look)

    @staticmethod
    def _needs_identity(plan: Plan, *, has_users: bool) -> bool:
        asks = has_users or plan.holders + plan.dealers + plan.lockers > 0
        return asks or not set(ABOVE_THE_FLOOR).isdisjoint(plan.faults)

    def put_above_floor(self) -> None:
        """Put every node above the floor from its first start on."""
        if self.stays_at_floor:
            self.stays_at_floor = False
            self._begin()
        self.begins_above_the_floor = True
        for host in self._hosts:
            host.is_at_floor = False

    def finish(self) -> None:
        """Upgrade the remaining nodes."""
        for host in self._hosts:
            if self._leaves_floor(host):
                was_up = host.node is not None
                host.stop(power_cut=False)
                self._upgrade(host)
                if was_up:  # any other node starts at its planned time
                    host.start()

    def have_identity(self, members: Sequence[Host]) -> bool:
        """Whether all members agree on one identity, have applied it, and know the
        build of each other: the next leader sends nothing to a member that it has not heard."""
        if self.stays_at_floor:
            return True
        identities = {host.cluster for host in members}
        is_one = len(identities) == 1 and "" not in identities
        names = {host.name for host in members}
        return is_one and all(
            not host.manager.store.is_at_floor
            and host.node is not None
            and names <= {host.name, *host.node._state.peer_builds}
            for host in members
        )

    def _leaves_floor(self, host: Host) -> bool:
        return host.is_at_floor and not self.stays_at_floor

    def _upgrade(self, host: Host) -> None:
        host.is_at_floor = False
        self._world.counts["nodes upgraded"] += 1

    def _look(self) -> None:
        for host in self._hosts:
            if host.node is None and self._leaves_floor(host) and self._chance.random() < 0.1:
                self._upgrade(host)
        self._world.after(self._pause_ms, self._look)
