"""The levels that simulated nodes announce to each other, as real ones do first on a connection.

Whenever a node starts, stops, continues or learns its identity, and whenever a link is cut or
mended, the connections between nodes are compared with what each node has heard.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from raftline.raft.inputs import PeerLevel
from raftline.raft.levels import FLOOR, NOT_HEARD

from ..nodes.simulated_node import Host
from ..world.network import Links
from ..world.world import World


class Announcements:
    """A node above the floor hears the level of another one while both are up, reach each other,
    and are of one cluster."""

    def __init__(
        self, world: World, links: Links, hosts: Sequence[Host], seed: int, longest_ms: int
    ) -> None:
        self._world = world
        self._links = links
        self._hosts = hosts
        self._chance = random.Random(f"announcements of {seed}")
        self._longest_ms = longest_ms
        self._is_planned = False
        links.on_change = self._plan
        for host in hosts:
            host.on_change = self._plan

    def _plan(self) -> None:
        if not self._is_planned:
            self._is_planned = True
            delay_ms = self._chance.randint(0, self._longest_ms)
            self._world.beside(delay_ms, self._chance.random(), self._look)

    def _look(self) -> None:
        self._is_planned = False
        for host in self._hosts:
            if host.node is not None and host.build_level > FLOOR:
                self._tell(host)

    def _tell(self, host: Host) -> None:
        for other in self._hosts:
            if other is host or host.node is None or other.paused:
                continue  # a paused node answers later
            level = self._level(host, other)
            if host.node._state.peer_levels.get(other.name, NOT_HEARD) == level:
                continue
            if self._chance.random() < 0.3:  # one connection takes longer than another
                self._plan()
            else:
                host.take(PeerLevel(other.name, level))

    def _level(self, host: Host, other: Host) -> int:
        is_heard = other.node is not None and self._links.are_linked(host.name, other.name)
        if not is_heard or host.answered_by(other.name, other.cluster):
            return NOT_HEARD
        return other.build_level
