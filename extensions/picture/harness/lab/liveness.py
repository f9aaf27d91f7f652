"""The rule that a majority of the lab's nodes elects a leader, which commits."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from raftline.raft.node_view import NodeView
from raftline_testing.invariants import InvariantError

from .cluster import LabCluster

PATIENCE_MS = 4000  # without an act
QUICK_MS = 30  # a slower network may keep a cluster from electing anybody


class Liveness:
    """Whether voters that reach each other have a leader that commits, some seconds after the last
    act."""

    def __init__(self, cluster: LabCluster) -> None:
        self._cluster = cluster
        self._since_ms = 0

    def acted(self) -> None:
        """Begin to wait again."""
        self._since_ms = self._cluster.world.now_ms

    def check(self) -> None:
        """Check it now and then.

        Raises:
            InvariantError: nobody leads or commits, though a majority could.
        """
        now_ms = self._cluster.world.now_ms
        if now_ms - self._since_ms < PATIENCE_MS:
            return
        self._since_ms = now_ms - PATIENCE_MS // 2
        if not self._is_usual():
            return
        leaders = self._leaders()
        voters = self._able_majority()
        if voters and not leaders:
            raise InvariantError(
                f"the cluster does not elect a leader: {' '.join(voters)} reach each other and are "
                "a majority"
            )
        for leader in leaders:
            if leader.commit_index < leader.log.last_index:
                raise InvariantError(
                    f"the cluster does not agree: {leader.name} leads and reaches a majority, but "
                    f"does not commit entry {leader.log.last_index}"
                )

    def _is_usual(self) -> bool:
        """Whether the settings and the members are those of the start, and quick enough."""
        cluster = self._cluster
        set_ms = [times[-1] for times in cluster.set_timeouts()]
        views = [host.view for host in cluster.hosts.values()]
        return (
            cluster.network.delay_ms[1] <= QUICK_MS
            and len(set(set_ms)) == len(set_ms)
            and max(set_ms, default=0) <= PATIENCE_MS // 4
            and not any(cluster.clocks)
            and all(
                view is not None and set(view.membership.voters) == self._voters() for view in views
            )
        )

    def _voters(self) -> set[str]:
        return set(self._cluster.first_members)

    def _leaders(self) -> list[NodeView]:
        """Return the leaders that reach a majority, in both directions."""
        able = self._able()
        return [
            host.node.view
            for host in self._cluster.hosts.values()
            if host.node is not None
            and host.node.view.is_leader
            and host.name in able
            and self._is_majority([host.name, *self._reached_by(host.name)])
        ]

    def _reached_by(self, name: str) -> list[str]:
        linked = self._cluster.network.are_linked
        return [other for other in self._able() if other != name and linked(name, other)]

    def _able(self) -> list[str]:
        """Return the nodes that can vote and write."""
        return [
            host.name
            for host in self._cluster.hosts.values()
            if host.node is not None
            and not (host.paused or host.disk.is_held or host.slow_ms is not None)
            and not host.node.view.recovering
        ]

    def _is_majority(self, names: Iterable[str]) -> bool:
        voters = self._voters()
        return 2 * len(voters.intersection(names)) > len(voters)

    def _able_majority(self) -> tuple[str, ...]:
        """Return the smallest majority of voters that all reach each other, or nobody."""
        size = len(self._voters()) // 2 + 1
        linked = self._cluster.network.are_linked
        for names in combinations(self._able(), size):
            if all(linked(one, other) for one, other in combinations(names, 2)):
                return names
        return ()
