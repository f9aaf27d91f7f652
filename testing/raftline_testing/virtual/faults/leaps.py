"""Forged terms: one line takes a node, or the whole cluster, as far ahead as the node allows.

The line is a denied vote, which says nothing but a term. In most cases a node is cut off at that
time: it misses the leap, or is the only one that leaps, twice if it hears of no leader. All have to
return by themselves (raft/far_terms.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from raftline.raft.far_terms import TERM_LEAP_MAX
from raftline.raft.messages import RequestVoteReply

from ..nodes.simulated_node import Host
from ..world.network import Network
from ..world.plan import Plan
from ..world.world import World

LEAPS_MAX = 6  # in a schedule; the way back from each takes some elections


class Leaps:
    """The fault that forges terms."""

    def __init__(self, world: World, plan: Plan, network: Network, hosts: Sequence[Host]) -> None:
        self._world = world
        self._timeout_ms = plan.options.election_timeout_ms
        self._network = network
        self._hosts = hosts
        self._left = LEAPS_MAX

    def stop(self) -> None:
        """Forge no more terms."""
        self._left = 0

    def leap(self) -> None:
        """Forge a term at a node, while it or another node is cut off, or while none is."""
        running = [host for host in self._hosts if host.node is not None]
        if len(running) < 2:
            return
        host, other = self._world.random.sample(running, 2)
        way = self._world.random.choice(["all", "away", "alone", "alone"])
        if way != "all":
            cut = self._network.split([host.name])
            cut_ms = self._timeout_ms * self._world.random.randint(3, 12)
            self._world.after(cut_ms, self._network.mend, cut)
        self._forge(other if way == "away" else host)
        if way == "alone":
            self._world.after(3 * self._timeout_ms, self._forge, host)

    def _forge(self, host: Host) -> None:
        view = host.view
        if view is None or not self._left:
            return
        self._left -= 1
        committed = view.log.term_at(view.commit_index) or 0
        term = max(committed, view.term if view.term > TERM_LEAP_MAX else 0) + TERM_LEAP_MAX
        voters = [name for name in view.membership.voters if name != host.name]
        if voters:
            self._world.tell("act", f"> leap {host.name}")
            self._world.counts["terms forged"] += 1
            host.hear(
                RequestVoteReply(voters[0], host.name, term, False, reason="no"), host.cluster
            )
