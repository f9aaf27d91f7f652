"""The check of the bound on lateness: a lease that is not renewed ends in time, under any faults.

The bound of docs/use/leases.md is checked here in the world's time:

* Time counts only while a **quorum can talk**: a quorum of each configuration that a running node
  uses is up, isn't paused, has links in both directions, has lost no vote, and has disks no slower
  than planned; and no leader with a slower disk keeps them from an election.
* **One whole time and one round.** Under one leader that such a quorum reaches, and that may
  propose, a lease exists for at most SECONDS · 1.1 and 1 ms of that leader's clock, and ROUND_MS of
  the world's. This begins with the grant or the last renewal that a leader confirmed; with a new
  leader it begins again. By clocks at 90 to 110 percent that is 1.23 SECONDS at most.
* **One election.** A stretch of such time without such a leader is at most ELECTION_TIMEOUTS
  election timeouts long.

So with N changes of leader, a lease that is not renewed exists for at most N + 1 times the first,
and N + 1 times the second. A quorum that is lost during either, and returns, may cost one more
round, and restarts a stretch without a leader.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

from raftline.state.commands.lease_commands import ms_of

from ..nodes.simulated_node import Host
from ..world.network import Links
from ..world.plan import Plan
from ..world.world import World

ROUND_MS = 200  # one heartbeat that detects losses, delays of 2 ms, disks of 2 ms
ELECTION_TIMEOUTS = 12  # including split votes


class LatenessCheck:
    """The check, after each event of a world, of the leader and the age of leases."""

    def __init__(self, world: World, plan: Plan, links: Links, hosts: Sequence[Host]) -> None:
        self._world = world
        self._links = links
        self._hosts = hosts
        self._disk_ms = plan.disk_ms
        self._election_ms = ELECTION_TIMEOUTS * plan.options.election_timeout_ms
        self._seen_ms = 0  # time of the last look, whose findings have held since
        self._can_talk = False
        self._leader: Host | None = None  # the leader that a quorum reaches, and that may propose
        self._leadership = ("", 0)  # its name and term
        self._led_ms = 0  # counted time in this leadership
        self._breaks = 0  # interruptions of it, each of which may cost a round
        self._without_ms = 0  # counted time without a leader
        # each lease's `_led_ms` and `_breaks` at its begin
        self._begun: dict[str, tuple[int, int]] = {}
        self._slow: dict[str, object] = {}  # the last slow write of each node
        self.counted_ms = 0
        self.leaderships = 0
        self.longest_without_ms = 0
        self.latest_ms = -(1 << 30)  # the longest overdue time of an existing lease
        world.look = self.look
        for host in hosts:
            host.watch_renewals = self._answered

    def look(self) -> None:
        """Add the time since the last event, judge, and update the state for the time from now on.

        Raises:
            AssertionError: a lease, or an election, exceeds the bound.
        """
        passed_ms, self._seen_ms = self._world.now_ms - self._seen_ms, self._world.now_ms
        self.counted_ms += passed_ms * self._can_talk
        if self._leader is not None:
            self._led_ms += passed_ms
            if passed_ms:
                self._judge_leases(self._leader)
        elif self._can_talk:
            self._without_ms += passed_ms
            self._judge_election()
        self._see()

    def _judge_leases(self, leader: Host) -> None:
        store, permille = leader.manager.store, leader.clock.permille
        for lease in (*store.leases.granted, *store.leased):
            begun_ms, breaks = self._begun.setdefault(lease, (self._led_ms, self._breaks))
            there_ms = self._led_ms - begun_ms
            whole_ms = (1100 * ms_of(store, lease) // 1000 + 1) * 1000 // permille + 1
            late_ms = there_ms - whole_ms
            self.latest_ms = max(self.latest_ms, late_ms)
            if late_ms > ROUND_MS * (1 + self._breaks - breaks):
                raise AssertionError(f"{lease} is late by {late_ms} ms at {leader.name}")

    def _judge_election(self) -> None:
        self.longest_without_ms = max(self.longest_without_ms, self._without_ms)
        if self._without_ms > self._election_ms:
            raise AssertionError(
                f"a quorum talks, but there is no leader for {self._without_ms} ms"
            )

    def _answered(self, host: Host, reply: str) -> None:
        """Restart the time of a lease whose renewal was confirmed, even if the answer is lost."""
        verb, _, answer = reply.partition(" response: ")
        if verb == "RENEW" and self._leader is host:
            self._begun[answer.split(" ", 1)[0]] = (self._led_ms, self._breaks)

    # --- the present state ----------------------------------------------------------------------

    def _see(self) -> None:
        up = [host for host in self._hosts if self._is_up(host)]
        able = [host for host in up if host.name not in self._slow]
        leader = max(
            (host for host in up if host.node and host.node.view.is_leader),
            key=lambda host: host.node.view.term if host.node else 0,
            default=None,
        )
        had_leader, self._leader = self._leader, None
        is_able = leader is None or leader in able
        if leader and is_able and self._serves(leader) and self._is_quorum_linked(able, leader):
            self._leader = leader
            self._lead(leader, is_new=had_leader is None)
        served = self._leader is not None
        self._can_talk = served or (is_able and self._is_quorum_linked(able))
        if self._leader is not None or not self._can_talk:
            self._without_ms = 0

    def _lead(self, leader: Host, *, is_new: bool) -> None:
        assert leader.node is not None
        leadership = (leader.name, leader.node.view.term)
        if leadership != self._leadership:
            self._leadership, self._led_ms, self._breaks = leadership, 0, 0
            self._begun.clear()
            self.leaderships += 1
        elif is_new:
            self._breaks += 1

    @staticmethod
    def _serves(host: Host) -> bool:
        """Whether it still leads, and has applied an entry of its term."""
        node = host.node
        assert node is not None
        view = node.view
        return node.takes_proposals and view.log.term_at(view.applied) == view.term

    def _is_up(self, host: Host) -> bool:
        """Whether it is up, not paused, and has its vote. Also records a slow disk."""
        if host.disk_ms > self._disk_ms:
            self._slow[host.name] = host.under_way
        elif self._slow.get(host.name) is not host.under_way or not host.under_way:
            self._slow.pop(host.name, None)
        is_up = host.node is not None and not host.paused
        return is_up and host.node is not None and not host.node.view.recovering

    def _is_quorum_linked(self, able: Sequence[Host], leader: Host | None = None) -> bool:
        """Whether some of these nodes, including this leader, all reach one another and form a
        quorum of each configuration in use."""
        in_use = {host.node.view.membership for host in self._hosts if host.node is not None}
        if not in_use:
            return False
        for count in range(len(able), 0, -1):
            for some in combinations(able, count):
                names = [host.name for host in some]
                is_quorum = all(each.is_quorum(names) for each in in_use if each.electors)
                if is_quorum and (leader is None or leader in some) and self._are_linked(names):
                    return True
        return False

    def _are_linked(self, names: Iterable[str]) -> bool:
        return all(self._links.are_linked(one, other) for one, other in combinations(names, 2))
