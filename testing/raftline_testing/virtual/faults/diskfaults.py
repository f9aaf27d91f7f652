"""Disks that hang or are slow in every sync, and logs that are taken from a running node.

Each fault comes with a check of its effect on users: a cluster can write while a majority of its
disks can, a leader stays while disks are slow, and a node notices that its log is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from raftline.raft.membership import Membership

from ..nodes.simulated_node import Host, leaders
from ..world.network import Network
from ..world.plan import Plan
from ..world.world import World
from .churn import can_lose

NOTICED_MS = 4000  # within this time a running node has a log again, or has stopped
WAYS = ("remove", "rename", "truncate", "append")


class SlowTime(NamedTuple):
    """A period in which only disks are slow."""

    leader: Host
    term: int
    members: Membership
    incarnations: list[int]


class DiskFaults:
    """Faults of disks and of files under a running node."""

    def __init__(self, world: World, plan: Plan, network: Network, hosts: Sequence[Host]) -> None:
        self._world = world
        self._plan = plan
        self._network = network
        self._hosts = hosts
        self._is_over = False
        self._others = 0  # faults other than slow syncs

    def struck(self, kind: str) -> None:
        """Record a fault of this kind."""
        self._others += kind != "slow syncs"

    def stop(self) -> None:
        """Make all disks fast again, except hung ones."""
        self._is_over = True
        for host in self._hosts:
            host.slow_ms = None

    def replace_disks(self) -> None:
        """Restart the nodes with hung disks on working disks."""
        for host in self._hosts:
            if host.disk.is_hung:
                host.stop(power_cut=False)
                host.start()

    # --- hung disks -----------------------------------------------------------------------------

    def hang(self, host: Host) -> None:
        """Hang all writes of this node until its next start. The others must be able to elect
        without it."""
        if host.node is not None and can_lose(self._hosts, host.name):
            self._world.tell("act", f"> hang disk {host.name}")
            self._world.counts["disks that hang"] += 1
            host.disk.is_hung = True

    @property
    def has_hung_disk(self) -> bool:
        """Whether the disk of any node hangs."""
        return any(host.disk.is_hung for host in self._hosts)

    def committed_elsewhere(self) -> int:
        """Return the highest commit index of the nodes whose disks work."""
        views = [host.node.view for host in self._hosts if host.node and not host.disk.is_hung]
        return max([view.commit_index for view in views], default=0)

    # --- slow disks -----------------------------------------------------------------------------

    def slow_down(self) -> None:
        """Make each write of some nodes take 0.1 to 1.5 election timeouts for a long time."""
        timeout_ms, chance = self._plan.options.election_timeout_ms, self._world.random
        own = Random(chance.getrandbits(32))
        slow = chance.sample(list(self._hosts), chance.randint(1, len(self._hosts)))
        self._world.tell("act", f"> slow syncs {' '.join(host.name for host in slow)}")
        before = self._slow_time()
        for host in slow:
            host.slow_ms = lambda: own.randint(timeout_ms // 10, 3 * timeout_ms // 2)
        self._world.after(chance.choice([20, 60]) * timeout_ms, self._speed_up, slow)
        if before is not None:
            for at in range(5, 20, 5):
                self._world.after(at * timeout_ms, self._judge_leader, before, self._others)

    def _speed_up(self, slow: Sequence[Host]) -> None:
        for host in slow:
            host.slow_ms = None

    def _slow_time(self) -> SlowTime | None:
        """Return the leader if it must not change while only disks are slow: the network works, and
        all nodes are up and follow. With leases a follower's answer waits until its promise is on
        its disk."""
        plan = self._plan
        is_fair = 10 * plan.delay_ms <= plan.options.election_timeout_ms
        is_fair = is_fair and not (plan.loss or plan.late or plan.long_ms or plan.slow_entries)
        views = [host.view for host in self._hosts]
        is_fair = is_fair and not any(view is None or view.options.lease for view in views)
        leader = undisputed_leader(self._hosts) if is_fair and not self._network.has_cuts else None
        if leader is None or leader.view is None:
            return None
        incarnations = [host.incarnation for host in self._hosts]
        return SlowTime(leader, leader.view.term, leader.view.membership, incarnations)

    def _judge_leader(self, before: SlowTime, others: int) -> None:
        """Check that the leader still leads.

        Raises:
            AssertionError: it was deposed, though only disks were slow.
        """
        same = before.incarnations == [host.incarnation for host in self._hosts]
        if self._is_over or others != self._others or not same:
            return
        view = before.leader.view
        if view is None or view.membership != before.members:
            return
        self._world.counts["leaders judged under slow disks"] += 1
        if not view.is_leader or view.term != before.term:
            raise AssertionError(
                f"{before.leader.name} leads term {before.term} no longer, though all nodes are up "
                "and linked, and only disks are slow"
            )

    # --- logs that are gone ---------------------------------------------------------------------

    def take_log(self, host: Host) -> None:
        """Remove, rename or truncate the log of a running node, or append to it, if the others can
        elect without it until it notices."""
        has_log = f"{host.name}.log" in host.disk.folder.contents()
        if host.node is None or not has_log or not can_lose(self._hosts, host.name):
            return
        way = self._world.random.choice(WAYS)
        self._world.tell("act", f"> {way} log {host.name}")
        self._world.counts["logs taken"] += 1
        host.may_be_said_new = False
        host.disk.take_log(way)
        self._world.after(NOTICED_MS, self._judge_log, host, host.incarnation, self._others)

    def _judge_log(self, host: Host, incarnation: int, others: int) -> None:
        """Check that a node has noticed that its log is gone.

        Raises:
            AssertionError: it has not, and acknowledges entries that would be lost.
        """
        if not host.disk.log_is_gone or host.incarnation != incarnation:
            return
        if host.view is None or not host.view.log.last_index:
            return  # it has acknowledged nothing, and writes its log with its first snapshot
        busy = host.paused or host.disk.is_hung or host.slow_ms is not None
        if busy or others != self._others:  # it may have been paused meanwhile
            self._world.after(NOTICED_MS, self._judge_log, host, incarnation, self._others)
            return
        raise AssertionError(f"{host.name} has no log for {NOTICED_MS} ms, and does not notice")


def undisputed_leader(hosts: Sequence[Host]) -> Host | None:
    """Return the leader that all nodes follow: all are up, their disks write, no change of members
    is in progress, no node is in a later term, and each member is in this leader's term."""
    led = leaders(hosts)
    if len(led) != 1:
        return None
    leader, view = led[0]
    leading = view._state.leading
    serves = leader.node is not None and leader.node.takes_proposals
    if leading is None or leading.pending_change or leading.waiting or not serves:
        return None
    if view.transfer is not None or view.membership.is_joint or not view.is_member:
        return None
    for host in hosts:
        node = host.node
        if node is None or host.paused or host.disk.is_hung or node.view.term > view.term:
            return None
        is_member = host.name in view.membership.names
        if is_member and (node.view.term, node.view.leader) != (view.term, leader.name):
            return None
    return leader
