"""Builds of older levels among the nodes of a schedule, and how they are upgraded.

Only some schedules are chosen, with a separate source of chance: the rest stay the same.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from raftline.common.build_level import LEVEL
from raftline.raft.inputs import PeerLevel
from raftline.raft.levels import FLOOR, LOWEST

from ..nodes.simulated_node import Host
from ..world.network import Links
from ..world.plan import Plan
from ..world.world import World

NEWER = LEVEL
NOTICED_FROM_NEWER = ("older files", "foreign files")  # builds of earlier levels can't notice these
# of schedules with builds of several levels, in addition to those that need a higher level
SHARE = 0.4


class Upgrades:
    """Starts of some nodes with an older build, and upgrades of nodes that are down.

    A node above the floor knows the level of another while both are up and reach each other. A node
    stops at an entry of a level above its own, which fails the schedule.
    """

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
        # A late node with a log written by hand may wait for ever, if a spare leads by then: the
        # spare is in the later term, and doesn't know that member. Upgrading all at once would
        # cause that.
        is_picked = self._chance.random() < SHARE or plan.holders + plan.dealers + plan.lockers > 0
        needs_newest = not set(NOTICED_FROM_NEWER).isdisjoint(plan.faults)
        is_picked = is_picked or needs_newest or has_users
        self.is_on = is_picked and not plan.by_hand
        self._world = world
        self._links = links
        self._hosts = hosts
        self._pause_ms = plan.options.election_timeout_ms // 2
        if self.is_on:
            shares = [0, 0, 0, 0.3] if has_users else [0, 0.3, 1]
            share = 0 if needs_newest else self._chance.choice(shares)
            older = random.Random(f"older levels of {seed}")
            for host in hosts:
                is_older = self._chance.random() < share
                host.build_level = older.choice([FLOOR, LOWEST]) if is_older else NEWER
            world.after(self._pause_ms, self._look)

    def finish(self) -> None:
        """Upgrade the remaining nodes."""
        for host in self._hosts if self.is_on else ():
            if host.build_level < NEWER:
                was_up = host.node is not None
                host.stop(power_cut=False)
                self._upgrade(host)
                if was_up:  # any other node starts at its planned time
                    host.start()

    def have_risen(self, members: Sequence[Host]) -> bool:
        """Whether all members have applied the level, if it must rise, and agree on one
        identity."""
        if not self.is_on:
            return True
        identities = {host.cluster for host in members}
        is_one = len(identities) == 1 and "" not in identities
        return is_one and all(host.manager.level == NEWER for host in members)

    def _upgrade(self, host: Host) -> None:
        host.build_level = NEWER
        self._world.counts["nodes upgraded"] += 1

    def _look(self) -> None:
        for host in self._hosts:
            if host.node is None and host.build_level < NEWER and self._chance.random() < 0.1:
                self._upgrade(host)
            if host.node is not None and host.build_level > FLOOR:
                self._tell(host)
                self._check(host)
        self._world.after(self._pause_ms, self._look)

    def _tell(self, host: Host) -> None:
        for other in self._hosts:
            if other is host or host.node is None:
                continue
            reaches = self._links.are_linked(host.name, other.name)
            level = other.build_level if reaches and other.node is not None else 0
            if host.node._state.peer_levels.get(other.name, 0) != level:
                host.take(PeerLevel(other.name, level))

    def _check(self, host: Host) -> None:
        """Check that each server that was a member when the level rose has that level: no build is
        downgraded here."""
        view = host.node.view if host.node is not None else None
        if view is None or view.levels.latest <= FLOOR:
            return
        index = view.levels.index
        if index > view.log.base_index:
            self._world.counts["levels raised"] += 1
            members = view.configurations.at(index).names
            below = [one.name for one in self._hosts if one.build_level < view.levels.latest]
            assert not set(below) & set(members), f"{below} are below the level of entry {index}"
