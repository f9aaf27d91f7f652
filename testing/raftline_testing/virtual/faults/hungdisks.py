"""Disks that hang or fail, without which the others can't continue: those of a majority, or that
of a server which is about to get a vote.

A server answers heartbeats past its disk. So a majority of hung disks stops writes and elections,
but an undisputed leader continues to serve reads; and a change of members ends, though its
candidate answers and takes no entries or no snapshot. No other fault happens meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raftline.raft.change import Change

from ...files.faulty_folder import Beside
from ...workloads.client_request import ClientRequest
from ..nodes.simulated_disk import FAILURES
from ..nodes.simulated_node import Host
from ..world.network import Network
from ..world.plan import Plan
from ..world.world import World
from .diskfaults import undisputed_leader

# Election timeouts: a leader with a hung disk steps down after 10 if the other disks are better.
READ_AT, JUDGED_AT, RESTARTED_AT = 16, 18, 19
CHANGE_BEGINS_WITHIN, CHANGE_ENDS_WITHIN = 2, 30
CHECK_MS = 20  # the longest time between two checks of a candidate
ARRIVING = ".state_machine.part"


class Reader:
    """A client that reads once from one node."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.replies: list[str] = []

    def answered(self, request: Any, reply: str) -> None:
        self.replies.append(reply)

    def refused(self, request: Any, leader: str | None) -> None:
        """It has no reply then."""

    def unknown(self, request: Any) -> None:
        """It has no reply then."""


class HungDisks:
    """The three faults, and a check of what each may not stop."""

    def __init__(self, world: World, plan: Plan, network: Network, hosts: Sequence[Host]) -> None:
        self._world = world
        self._plan = plan
        self._network = network
        self._hosts = {host.name: host for host in hosts}
        self._timeout_ms = plan.options.election_timeout_ms
        self._calm_until_ms = 0
        self._hung: list[Host] = []  # the hosts of the disks that hang
        self.refusing: Host | None = None  # the host whose disk takes no snapshot
        # The leader, incarnation and term of a change, and its outcome.
        self._change: tuple[Host, int, int] | None = None
        self._outcomes: list[str] = []
        self._is_over = False

    @property
    def are_calm(self) -> bool:
        """Whether no other fault may happen."""
        return self._world.now_ms < self._calm_until_ms

    def stop(self) -> None:
        """Begin nothing more. The disk of a candidate hangs or fails until its change has ended."""
        self._is_over = True
        if self.has_ended_change:
            self.restart()

    @property
    def has_ended_change(self) -> bool:
        """Whether the change with a hung candidate has ended, at least with its leader's term."""
        if self._change is None:
            return True
        leader, incarnation, term = self._change
        view = leader.view
        if leader.incarnation != incarnation or view is None:
            return True
        return bool(self._outcomes) or not (view.is_leader and view.term == term)

    def hang_majority(self) -> None:
        """Hang the disks of a majority of the voters, mostly with the leader's."""
        leader, chance = self._leader(), self._world.random
        if leader is None or leader.view is None:
            return
        voters = list(leader.view.membership.voters)
        hung = chance.sample(voters, chance.randint(len(voters) // 2 + 1, len(voters)))
        self._world.counts["majorities of disks that hang"] += 1
        self._hang(hung, RESTARTED_AT)
        before = leader, leader.view.term, self._incarnations()
        self._world.after(READ_AT * self._timeout_ms, self._read, *before)

    def hang_candidate(self) -> None:
        """Ask for the vote of a server without one, and hang its disk while it catches up."""
        leader = self._leader()
        host = self._without_vote(leader)
        if leader is None or host is None:
            return
        self._calm_until_ms = self._world.now_ms + CHANGE_BEGINS_WITHIN * self._timeout_ms
        self._ask(leader, host)
        self._world.after(self._world.random.randint(1, CHECK_MS), self._look, leader, host)

    def refuse_snapshots(self) -> None:
        """Ask for the vote of a server without one that lacks the beginning of the log, and let its
        disk fail at each snapshot."""
        leader = self._leader()
        host = self._without_vote(leader)
        if leader is None or leader.view is None or host is None or host.view is None:
            return
        if host.view.log.last_index >= leader.view.log.base_index:
            return
        self._world.tell("act", f"> refuse snapshots {host.name}")
        self._world.counts["candidates that refuse snapshots"] += 1
        self.refusing = host
        host.disk.spoil_beside(Beside(self._world.random.choice(FAILURES), ARRIVING))
        self._be_calm(CHANGE_ENDS_WITHIN + 5)
        self._ask(leader, host)

    def _without_vote(self, leader: Host | None) -> Host | None:
        """Return a server without a vote that this leader can make a voter, or None."""
        if leader is None or leader.view is None:
            return None
        members = leader.view.membership
        without = [
            host
            for host in self._hosts.values()
            if host.node is not None and host.name not in members.voters
        ]
        if not without or len(members.voters) < 2:  # two voters need each other
            return None
        return self._world.random.choice(without)

    def _look(self, leader: Host, host: Host) -> None:
        """Hang the disk of a candidate that has a term on it, and so answers; before that, look
        again in a moment."""
        leading = leader.view._state.leading if leader.view is not None else None
        pending = leading.pending_change if leading is not None else None
        if not self.are_calm or self._is_over or leading is None or host.node is None:
            return
        if pending is None or pending.candidate != host.name:
            return
        progress = leading.progress[host.name]
        if host.writes.holds_promise or not progress.match_index:
            self._world.after(self._world.random.randint(1, CHECK_MS), self._look, leader, host)
            return
        self._world.counts["candidates whose disk hangs"] += 1
        self._hang([host.name], CHANGE_ENDS_WITHIN + 5)

    def _leader(self) -> Host | None:
        """Return a leader that all follow, in a network that works. With leases a follower's answer
        waits until its promise is on its disk."""
        plan = self._plan
        is_fair = 10 * plan.delay_ms <= self._timeout_ms
        is_fair = is_fair and not (plan.loss or plan.late or plan.long_ms or plan.slow_entries)
        hosts = list(self._hosts.values())
        views = [host.view for host in hosts]
        if not is_fair or any(view is None or view.options.lease for view in views):
            return None
        leader = undisputed_leader(hosts) if not self._network.has_cuts else None
        if leader is None or leader.view is None:
            return None
        # A term, and the identity of a cluster that is new, precede any answer to the disk.
        members = [self._hosts[name] for name in leader.view.membership.names]
        is_new = any(host.view is None or not host.view.commit_index for host in members)
        return None if is_new or any(host.writes.holds_promise for host in members) else leader

    def _hang(self, names: Sequence[str], timeouts: int) -> None:
        self._world.tell("act", f"> hang disks {' '.join(names)}")
        for host in map(self._hosts.__getitem__, names):
            if host.node is not None and not host.disk.is_hung:
                host.disk.is_hung = True
                self._hung.append(host)
        self._be_calm(timeouts)

    def _be_calm(self, timeouts: int) -> None:
        """Prevent other faults for so many election timeouts, and then end this one."""
        self._calm_until_ms = self._world.now_ms + timeouts * self._timeout_ms
        self._world.after(timeouts * self._timeout_ms - 1, self._end)

    def _end(self) -> None:
        if not self._is_over:
            self.restart()

    def restart(self) -> None:
        """Restart the nodes with hung disks on working disks, and let snapshots be taken again."""
        refusing, self.refusing = self.refusing, None
        if refusing is not None:
            refusing.disk.spoil_beside(None)
        hung, self._hung = self._hung, []
        for host in hung:
            if host.disk.is_hung:
                host.stop(power_cut=False)
                host.start()

    def _incarnations(self) -> list[int]:
        return [host.incarnation for host in self._hosts.values()]

    def _read(self, leader: Host, term: int, incarnations: list[int]) -> None:
        """Check that the leader still leads, and ask it for a read.

        Raises:
            AssertionError: it was deposed or stepped down, though all nodes are up and linked.
        """
        view = leader.view
        if self._is_over or incarnations != self._incarnations() or view is None:
            return
        if leader.writes.is_full:
            return
        if not view.is_leader or view.term != term:
            raise AssertionError(
                f"{leader.name} leads term {term} no longer, though all nodes are up and linked: "
                "nobody serves reads while a majority of the disks hangs"
            )
        reader = Reader("reader")
        request = ClientRequest(
            reader, "get", "a", None, self._world.tick(), in_log=False, how="index"
        )
        leader.submit(request)
        wait_ms = (JUDGED_AT - READ_AT) * self._timeout_ms
        self._world.after(wait_ms, self._judge_read, leader, reader, incarnations)

    def _judge_read(self, leader: Host, reader: Reader, incarnations: list[int]) -> None:
        if self._is_over or incarnations != self._incarnations():
            return
        self._world.counts["reads judged under hung disks"] += 1
        if not reader.replies:
            raise AssertionError(f"{leader.name} leads, and does not answer a read")

    def _ask(self, leader: Host, host: Host) -> None:
        if leader.view is None:
            return
        change = Change("promote", host.name)
        if host.name not in leader.view.membership.learners:
            change = Change("add", host.name, f"localhost:{10000 + int(host.name[1:])}")
        outcomes: list[str] = []
        self._outcomes, self._change = outcomes, (leader, leader.incarnation, leader.view.term)
        leader.change(change, lambda outcome, _: outcomes.append(outcome), lambda *_: True)
        self._world.after(CHANGE_ENDS_WITHIN * self._timeout_ms, self._judge_change, outcomes)

    def _judge_change(self, outcomes: list[str]) -> None:
        """Check that a change has ended.

        Raises:
            AssertionError: it is still in progress, and bars all others.
        """
        is_struck = bool(self._hung) or self.refusing is not None
        if outcomes is self._outcomes and is_struck and not self.has_ended_change:
            raise AssertionError(
                f"a change has not ended after {CHANGE_ENDS_WITHIN} election timeouts, though its "
                "candidate alone takes nothing"
            )
