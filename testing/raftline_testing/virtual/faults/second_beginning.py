"""Two clusters under the same names: what becomes of both when nodes without entries begin again.

If the disk of a node is lost while the others with entries are away, nodes without entries elect a
leader after their patience (raft/newborn.py). Clients' histories are then of two clusters, and no
judge of one can continue. So the schedule ends there, and its nodes continue from their disks in a
calm world: first those without entries, and after they have written, those with the earlier ones.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from raftline.raft.inputs import Propose
from raftline.raft.membership import Membership
from raftline.raft.messages import Message
from raftline.storage.disk import FilesRefused
from raftline.storage.recovery import Recovered

from ...files.faulty_folder import MemoryFolder
from ...invariants import InvariantError, Invariants
from ..honest_invariants import HonestInvariants
from ..nodes.manager import Manager
from ..nodes.simulated_node import Host, leaders
from ..world.network import Network
from ..world.plan import Plan
from ..world.world import World
from .announcements import Announcements
from .wrongfiles import calmed

TIMEOUTS = 60  # election timeouts in which the later cluster begins, and in which both run
WRITES = [f"set again {number}" for number in range(3)]


class TwoClusters:
    """The nodes of a schedule, in a world of their own: each is judged with its own cluster."""

    def __init__(
        self,
        world: World,
        plan: Plan,
        hosts: Mapping[str, Host],
        earlier: Invariants,
        *,
        is_at_floor: bool,
    ) -> None:
        """`world` is that of the schedule, and `earlier` judged it."""
        self._counts = world.counts
        self._world = World(random.Random(f"two clusters {world.events}"), world.say)
        self._plan = replace(calmed(plan), long_ms=plan.long_ms)  # with the machine of its jobs
        network = Network(self._world, self._plan, list(hosts))
        network.calm_down()
        network.deliver = self._deliver
        first = next(iter(hosts.values()))
        members = Membership(tuple(first.members), addresses=dict(first.members))
        self._earlier, later = earlier, HonestInvariants(members)
        self._old: dict[str, Host] = {}
        self._new: dict[str, Host] = {}
        self._files: dict[str, Recovered] = {}  # of the old ones, as they are now
        for host in hosts.values():
            host.stop(power_cut=False)
            files = _files_of(host)
            if files is None or files.newborn or (files.recovering and not files.log.last_index):
                continue  # it would follow either of the two
            is_old = files.log.last_index > 0
            if is_old and not files.cluster:
                self._counts["older nodes that did not know their cluster yet"] += 1
                continue  # to it, the entries of either are those of a later leader
            side, judge = (self._old, earlier) if is_old else (self._new, later)
            moved = Host(
                self._world, self._plan, host.name, host.members, judge, network.send, host.disk
            )
            moved.is_joiner, moved.is_at_floor, moved.epoch = host.is_joiner, is_at_floor, "again "
            side[host.name] = moved
            self._files[host.name] = files
        self._hosts, self._count = {**self._old, **self._new}, len(hosts)
        for name in {*hosts} - {*self._old}:
            earlier.nodes.pop(name, None)
        both = list(self._hosts.values())
        Announcements(self._world, network, both, world.events, self._plan.delay_ms)

    def _deliver(self, message: Message) -> None:
        sender, receiver = self._hosts.get(message.sender), self._hosts.get(message.to)
        if sender is not None and receiver is not None:
            receiver.hear(message, sender.cluster)

    def run(self) -> None:
        """Make the later cluster begin and write, and the older nodes return; judge both.

        Raises:
            AssertionError, InvariantError: one of the two took something from the other, or lost
            an acknowledged write, or said nothing.
        """
        self._judge_disks()
        for host in self._new.values():
            host.start()
        self._pass_time()
        led = leaders(self._new.values())
        if not led or not self._is_one_cluster():
            self._counts["clusters that could not begin again"] += 1
            return
        led[0][0].take(Propose(WRITES))
        self._pass_time()
        for host in self._old.values():
            host.start()
        self._pass_time()
        self._counts["clusters that began again"] += 1
        self._judge()

    def _pass_time(self) -> None:
        until_ms = self._world.now_ms + TIMEOUTS * self._plan.options.election_timeout_ms
        while self._world.next_ms < until_ms:
            self._world.step()

    def _is_one_cluster(self) -> bool:
        identities = {host.cluster for host in self._new.values()}
        return len(identities) == 1 and "" not in identities

    def _judge_disks(self) -> None:
        """Check that the last acknowledged write of the earlier cluster is on a disk, unless a node
        that is left out may have it."""
        index = len(self._earlier.committed)
        term = self._earlier.committed[-1][0] if index else 0
        logs = [files.log for files in self._files.values()]
        is_whole = len(self._hosts) == self._count
        if (
            index
            and is_whole
            and not any(log.base_index >= index or log.term_at(index) == term for log in logs)
        ):
            raise InvariantError(f"entry {index} of term {term} is on no disk")

    def _judge(self) -> None:
        (theirs,) = {host.cluster for host in self._new.values()}
        for name, host in self._old.items():
            assert host.view is not None
            log, before = host.view.log, self._files[name].log
            last = min(len(self._earlier.committed), before.last_index)
            for index in range(log.base_index + 1, last + 1):
                term = self._earlier.committed[index - 1][0]
                if before.term_at(index) == term != log.term_at(index):
                    raise InvariantError(f"{name} lost entry {index} to another cluster")
            if host.cluster == theirs:
                raise InvariantError(f"{name} went over to cluster {theirs}")
        for name, host in self._new.items():
            if host.manager.store.get("again") != WRITES[-1].split()[-1] or host.cluster != theirs:
                raise InvariantError(f"{name} lost the writes of cluster {theirs}")
        self._judge_words()

    def _judge_words(self) -> None:
        """Check that both sides name each other, where the members of both are as in the
        beginning."""
        heard = [host for host in self._old.values() if self._meets(host)]
        for host in heard:
            assert host.foreigners.seen(), f"{host.name} does not name the other cluster"
        if heard:
            named = [name for host in self._new.values() for name in host.foreigners.seen()]
            assert named, f"nobody of the later cluster names {[host.name for host in heard]}"

    def _meets(self, host: Host) -> bool:
        """Whether an older node stands or leads, and is a member of the later cluster."""
        view, (_, later) = host.view, leaders(self._new.values())[0]
        if view is None or view.recovering or host.name not in later.membership.names:
            return False
        return view.leader in (None, host.name) and not {*view.peers}.isdisjoint(self._new)


def _files_of(host: Host) -> Recovered | None:
    """Return what a start would find in the node's files; None if it would not start, or if they
    are of another cluster."""
    if host.disk.is_foreign or host.disk.went_back:
        return None
    folder = MemoryFolder(host.disk.folder.contents())
    members = {} if host.is_joiner else host.members
    try:
        return Manager(host.name, folder, members).recover(joins=host.is_joiner)
    except FilesRefused:
        return None
