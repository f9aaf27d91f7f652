"""Nodes that return with older files, or with the files of another cluster."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from raftline.raft.inputs import PeerBuild, Propose
from raftline.raft.membership import Membership

from ...invariants import Invariants
from ..honest_invariants import HonestInvariants
from ..nodes.simulated_disk import Disk
from ..nodes.simulated_node import Host
from ..world.network import Network
from ..world.plan import NEVER, Plan
from ..world.world import World
from .churn import can_lose
from .diskfaults import undisputed_leader

HEARD_WITHIN_TIMEOUTS = 30
FOREIGN_WRITES = 12
EVENTS_MAX = 50_000  # events of the other cluster


class WrongFiles:
    """The fault that puts wrong files in the folders of nodes that are down."""

    def __init__(self, world: World, plan: Plan, network: Network, hosts: Sequence[Host]) -> None:
        self._world = world
        self._plan = plan
        self._network = network
        self._hosts = hosts
        self._foreign: dict[str, dict[str, bytes]] = {}  # each node's files from another cluster
        self._judges: dict[str, Invariants] = {}  # judges of the nodes with these files
        # set until a node with older files knows of the loss
        self._guard: Callable[[], None] | None = None

    @property
    def is_guarding(self) -> bool:
        """Whether a node with older files hasn't heard from its leader yet: until then there may be
        no other fault."""
        return self._guard is not None

    def stop(self) -> None:
        """Remove the files of another cluster, wherever they are."""
        for host in self._hosts:
            self._remove_foreign(host)

    # --- older files ----------------------------------------------------------------------------

    def put_back(self) -> None:
        """Restart a follower with its files of an earlier stop, as from a backup of its folder.

        Raft itself doesn't survive this: the node acknowledged entries, and gave a vote, that its
        files don't contain. One server can notice: a leader that has these acknowledgements. So
        this happens only in a healthy cluster in which all other nodes are in the term of that
        leader, and so have cast their votes in it. Until the node has saved an entry, or a notice
        that it lost its memory, there is no other fault. Afterwards there may be faults, even
        before the node has caught up: a vote of a node in that state can lose acknowledged entries.
        If the leader is deposed before, no server knows of the loss: the files of the node are
        removed at once.
        """
        leader = undisputed_leader(self._hosts)
        is_calm = not (self._guard or self._network.has_cuts or self._world.look)
        if leader is None or leader.view is None or not is_calm:
            return
        if any(host.is_at_floor for host in self._hosts):
            return  # no server could tell it
        progress = leader.view._state.progress
        voters = leader.view.membership.voters
        others = [each for each in self._hosts if each is not leader and each.name in voters]
        host = self._world.random.choice(others) if others else leader
        if host is leader or not can_lose(self._hosts, host.name):
            return
        host.stop(power_cut=False)
        if host.disk.go_back(progress[host.name].match_index):
            self._world.tell("act", f"> put back older files {host.name}")
            self._world.counts["older files put back"] += 1
            host.may_be_said_new = False
            self._begin_to_guard(leader, host)
        host.start()

    def _begin_to_guard(self, leader: Host, host: Host) -> None:
        assert leader.view is not None
        term, world = leader.view.term, self._world
        within_ms = HEARD_WITHIN_TIMEOUTS * self._plan.options.election_timeout_ms
        until_ms = world.now_ms + within_ms
        self._network.is_quiet = True

        def guard() -> None:
            if not host.disk.went_back:
                self._end_guard()
            elif not self._keeps_its_place(leader, term):
                self._end_guard()
                world.counts["older files removed"] += 1
                self._start_without_files(host)
            elif world.now_ms > until_ms:
                raise AssertionError(
                    f"{host.name} is back with older files, and {leader.name} has not told it "
                    f"within {within_ms} ms"
                )

        self._guard = world.look = guard

    def _end_guard(self) -> None:
        self._guard = self._world.look = None
        self._network.is_quiet = False

    def _keeps_its_place(self, leader: Host, term: int) -> bool:
        view = leader.node.view if leader.node is not None and not leader.paused else None
        others = [host.node.view.term for host in self._hosts if host.node is not None]
        return view is not None and view.is_leader and view.term == max(others) == term

    def _start_without_files(self, host: Host) -> None:
        host.stop(power_cut=False)
        host.disk.lose_all(trace=True)
        host.is_joiner = True
        host.start()

    # --- the files of another cluster -----------------------------------------------------------

    def put_foreign(self) -> None:
        """Restart a node with its files of an earlier cluster, which had the same names.

        It is useless to its cluster until these files are removed, so the others must be able to
        elect without it. A cluster has its own identity at each node that has applied its first
        entry; at the floor the two can't be told apart. A cluster of one node would elect its
        leader again and serve any client there; these clients trust their addresses.
        """
        views = [host.view for host in self._hosts]
        born = [host for host in self._hosts if len(host.members) > 1 and not host.is_joiner]
        if None in views or any(host.manager.store.is_at_floor for host in self._hosts) or not born:
            return
        host = self._world.random.choice(born)
        if host.node is None or host.disk.is_foreign or not can_lose(self._hosts, host.name):
            return
        if not self._foreign:
            seed = self._world.random.getrandbits(32)
            self._foreign = earlier_cluster(self._plan, host.members, random.Random(seed))
        host.stop(power_cut=False)
        self._world.tell("act", f"> put foreign files {host.name}")
        self._world.counts["foreign files"] += 1
        host.may_be_said_new = False
        host.disk.become_foreign(self._foreign[host.name])
        members = Membership(tuple(host.members), addresses=dict(host.members))
        self._judges[host.name] = host.judge_by(HonestInvariants(members))
        host.start()
        timeouts = self._world.random.randint(10, 40)
        timeout_ms = self._plan.options.election_timeout_ms
        self._world.after(timeouts * timeout_ms, self._remove_foreign, host)

    def _remove_foreign(self, host: Host) -> None:
        """Act on the node's message: remove its files, and start it to join."""
        if host.name not in self._judges:
            return
        self._world.tell("act", f"> remove foreign files {host.name}")
        host.stop(power_cut=False)
        host.judge_by(self._judges.pop(host.name))
        self._start_without_files(host)


def earlier_cluster(
    plan: Plan, members: Mapping[str, str], chance: random.Random
) -> dict[str, dict[str, bytes]]:
    """Run a cluster with these names until it elects and writes; return each node's files.

    Raises:
        AssertionError: it doesn't elect or write.
    """
    world, calm = World(chance), calmed(plan)
    network = Network(world, calm, list(members))
    network.calm_down()
    invariants = HonestInvariants(Membership(tuple(members), addresses=dict(members)))
    hosts = {
        name: Host(world, calm, name, members, invariants, network.send, Disk(world, name))
        for name in members
    }
    network.deliver = lambda message: hosts[message.to].hear(message)
    for host in hosts.values():
        host.disk.newborn, host.is_at_floor, host.epoch = True, False, "earlier "
        host.start()
        for name in members:
            if name != host.name:
                host.take(PeerBuild(name, frozenset()))
    run_until(world, lambda: not any(host.manager.store.is_at_floor for host in hosts.values()))
    values = [f"set {chance.choice('abc')} foreign{n}" for n in range(FOREIGN_WRITES)]
    for value in values:
        leader = undisputed_leader(list(hosts.values()))
        if leader is not None:
            leader.take(Propose([value]))
            world.step()
    indexes = [host.view.log.last_index for host in hosts.values() if host.view is not None]
    run_until(world, lambda: all(h.manager.applied.index >= max(indexes) for h in hosts.values()))
    for host in hosts.values():
        host.stop(power_cut=False)
    return {name: host.disk.folder.contents() for name, host in hosts.items()}


def calmed(plan: Plan) -> Plan:
    """Return the plan of a cluster in which nothing goes wrong."""
    return replace(
        plan,
        duplicates=0,
        replays=0,
        formatted=False,
        steady_clocks=True,
        disk_ms=0,
        compact_bytes=NEVER,
        restarts_differ=0,
        said_new=0,
        slow_entries=False,
        long_ms=0,
    )


def run_until(world: World, is_so: Callable[[], bool]) -> None:
    """Run until the condition holds.

    Raises:
        AssertionError: it does not within EVENTS_MAX events.
    """
    for _ in range(EVENTS_MAX):
        if is_so():
            return
        world.step()
    raise AssertionError("the other cluster does not come into being")
