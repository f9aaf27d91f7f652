"""The builds of the nodes in a schedule, and how they are upgraded one by one.

A separate source of chance picks them: the rest of a schedule stays the same. Most schedules run at
level 1 from their first entry on, as real nodes do. In some, all nodes stay at the floor. In the
others, nodes of an older build are upgraded while they are down: from the floor to level 1, or from
level 1 to that of the next release.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from functools import partial
from types import ModuleType

from raftline.common.build_level import LEVEL
from raftline.raft.levels import FLOOR, LOWEST
from raftline.storage import hard_state, log_lines, start_plan

from ..nodes.simulated_node import Host
from ..world.network import Links
from ..world.plan import Plan
from ..world.world import World
from .announcements import Announcements

NEXT = LEVEL + 1  # of the next release, which has nothing new yet
AT_THE_FLOOR = (FLOOR, FLOOR)  # the levels of the older and the newer build
RELEASED = (LOWEST, LOWEST)
FROM_THE_FLOOR = (FLOOR, LOWEST)
TO_THE_NEXT = (LOWEST, NEXT)
KINDS = (AT_THE_FLOOR, *[RELEASED] * 5, FROM_THE_FLOOR, *[TO_THE_NEXT] * 3)
# Builds at the floor can't notice these: their cluster has no identity, and tells nobody of a loss.
ABOVE_THE_FLOOR = ("older files", "foreign files", "wipe at birth")
SHARES = (0.3, 0.7, 1.0)  # of older builds among the nodes
READ_LEVELS: tuple[ModuleType, ...] = (hard_state, log_lines, start_plan)


class Upgrades:
    """Starts of some nodes with an older build, and upgrades of nodes that are down.

    A node stops at an entry of a level above its own, which fails the schedule.
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
        self._world = world
        self._hosts = hosts
        self._pause_ms = plan.options.election_timeout_ms // 2
        kind = self._chance.choice(KINDS)
        if plan.by_hand:
            # A late node with a log written by hand may wait for ever, if a spare leads by then:
            # the spare is in the later term, and doesn't know that member. Upgrading all at once
            # would cause that.
            kind = self._chance.choice([AT_THE_FLOOR, RELEASED])
        elif kind[0] == FLOOR and self._needs_levels(plan, has_users=has_users):
            kind = RELEASED
        older, self.newest = kind
        self.begins_above_the_floor = older > FLOOR
        share = self._chance.choice(SHARES)
        for host in hosts:
            host.build_level = older if self._chance.random() < share else self.newest
        self._announce = partial(Announcements, world, links, hosts, seed, plan.delay_ms)
        if self.newest > FLOOR:
            self._begin()

    def _begin(self) -> None:
        self._announce()
        self._world.after(self._pause_ms, self._look)

    @staticmethod
    def _needs_levels(plan: Plan, *, has_users: bool) -> bool:
        asks = has_users or plan.holders + plan.dealers + plan.lockers > 0
        return asks or not set(ABOVE_THE_FLOOR).isdisjoint(plan.faults)

    @contextlib.contextmanager
    def files_are_known(self) -> Iterator[None]:
        """Make the modules of the files read those of the newest build here."""
        before = [vars(module)["LEVEL"] for module in READ_LEVELS]
        try:
            for module in READ_LEVELS:
                vars(module)["LEVEL"] = max(self.newest, LEVEL)
            yield
        finally:
            for module, level in zip(READ_LEVELS, before, strict=True):
                vars(module)["LEVEL"] = level

    def put_newest(self) -> None:
        """Make every node run the newest build from its first start on, above the floor."""
        if self.newest == FLOOR:
            self.newest = LOWEST
            self._begin()
        self.begins_above_the_floor = True
        for host in self._hosts:
            host.build_level = self.newest

    def finish(self) -> None:
        """Upgrade the remaining nodes."""
        for host in self._hosts:
            if host.build_level < self.newest:
                was_up = host.node is not None
                host.stop(power_cut=False)
                self._upgrade(host)
                if was_up:  # any other node starts at its planned time
                    host.start()

    def have_risen(self, members: Sequence[Host]) -> bool:
        """Whether all members have applied the newest level, agree on one identity, and know the
        build of each other: the next leader sends nothing to a member that it has not heard."""
        if self.newest == FLOOR:
            return True
        identities = {host.cluster for host in members}
        is_one = len(identities) == 1 and "" not in identities
        names = {host.name for host in members}
        return is_one and all(
            host.manager.level == self.newest
            and host.node is not None
            and names <= {host.name, *host.node._state.peer_levels}
            for host in members
        )

    def _upgrade(self, host: Host) -> None:
        host.build_level = self.newest
        self._world.counts["nodes upgraded"] += 1

    def _look(self) -> None:
        for host in self._hosts:
            is_older = host.build_level < self.newest
            if host.node is None and is_older and self._chance.random() < 0.1:
                self._upgrade(host)
            if host.node is not None and host.build_level > FLOOR:
                self._check(host)
        self._world.after(self._pause_ms, self._look)

    def _check(self, host: Host) -> None:
        """Check that a quorum had the level when it rose: no build is downgraded here. A member
        with an older build was never heard by then."""
        view = host.node.view if host.node is not None else None
        if view is None or view.levels.latest <= LOWEST:
            return
        index = view.levels.index
        members = view.configurations.at(index)  # a joiner may not know them
        if index > view.log.base_index and members.names:
            self._world.counts["levels raised"] += 1
            have = [one.name for one in self._hosts if one.build_level >= view.levels.latest]
            assert members.is_quorum(have), f"only {have} have the level of entry {index}"
            self._world.counts["levels raised beside an older build"] += not {
                *members.names
            }.issubset(have)
