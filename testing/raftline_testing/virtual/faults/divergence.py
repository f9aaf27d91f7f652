"""Planted divergences: one node of a schedule gets another state than the others.

`run_divergence` plants one in a cluster that is otherwise sound, though its network may lose and
delay messages. The node must be found, stand for no election and serve no reads, and after its next
start get the state of the others again. Earlier reads of clients are not judged.

With `away`, as many nodes as possible are away around it, and the leader may be the one that is
struck. Until they return nobody can know who is right, so nobody may lose a vote.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from random import Random

from raftline.logmanager import LogManager
from raftline.raft.effects import Effects
from raftline.raft.inputs import Propose
from raftline.raft.log import Entry
from raftline.raft.membership import Membership
from raftline.raft.node import RawNode
from raftline.raft.node_view import NodeView
from raftline.raft.state import State
from raftline.storage.snapshot_file import SnapshotFile
from raftline.storage.snapshot_lines import MachineState, format_snapshot
from raftline.wire.refusal import DIVERGED

from ...files.edited_log import with_checksums
from ...files.faulty_folder import MemoryFolder
from ..honest_invariants import HonestInvariants
from ..nodes.simulated_node import Host, leaders
from ..schedule import Schedule, as_planned, few_collections
from ..world.plan import NEVER, Plan, pick_plan

KEY = "planted"  # no client writes it
KINDS = ("machine", "snapshot", "entry")
FIRST_ENTRIES = 40  # applied before the divergence
WITHIN_MS = 400_000  # of the virtual clock; a snapshot may travel in pieces of 20 bytes
BATCH_BYTES_MIN = 2000
STEPS = 20  # between two looks
AWAY_TIMEOUTS = 25  # election timeouts in which nodes are away
UNDECIDED_TIMEOUTS = 60  # until an operator decides, if snapshots leave no witness
TOLD_TIMEOUTS = 10  # within which a node that is told to differ is in quarantine
_SET = re.compile(rb"(?m)^([0-9]+) ([0-9]+) ((?:[^ @]*@)?set \w+ )(.*)$")


def plan_of(seed: int, nodes: int) -> Plan:
    """Return the network, the disks and the clients of a schedule, without its faults."""
    plan = pick_plan(Random(seed), nodes, ["heal"])
    compact_bytes = min(plan.compact_bytes, 2000)
    # A log in batches of one entry, or a snapshot in tiny pieces, takes half an hour to arrive.
    batch_bytes = max(plan.options.batch_bytes, BATCH_BYTES_MIN)
    chunk_bytes = max(plan.options.chunk_bytes, BATCH_BYTES_MIN)
    options = replace(plan.options, batch_bytes=batch_bytes, chunk_bytes=chunk_bytes)
    return replace(
        plan, options=options, loss=min(plan.loss, 0.1), compact_bytes=compact_bytes, faults=[],
        fault_every_ms=NEVER,
        change_every_ms=0, spares=0, late_starts=0, by_hand=0, nonmember_every_ms=0, said_new=0,
        dealers=0, holders=0, searchers=0, lockers=0, long_ms=0, appends=0, conditions=0,
        slow_entries=False, is_mixed=False,
    )  # fmt: skip


def run_divergence(kind: str, seed: int, nodes: int = 3, *, away: bool = False) -> Counter[str]:
    """Plant a divergence of this kind, and see it found and mended; return the counts.

    Raises:
        AssertionError: the cluster did not get there in time.
        InvariantError: another node was found to differ, or another invariant broke.
    """
    schedule = Schedule(seed, plan_of(seed, nodes), None)
    with few_collections(), as_planned(schedule):
        return _Scenario(schedule, kind, away=away).run()


class _Judge(HonestInvariants):
    """Invariants of a cluster in which one node may hold another entry, and give other replies."""

    victim = ""

    def replied(self, name: str, entries: Sequence[Entry], replies: Sequence[str]) -> int:
        return 0 if name == self.victim else super().replied(name, entries, replies)

    def _commits(self, node: RawNode, effects: Effects) -> None:
        if node.view.name == self.victim:
            self._commit[self.victim] = node.view.commit_index
        else:
            super()._commits(node, effects)

    def _applies(self, state: State, effects: Effects) -> None:
        if state.name != self.victim:
            super()._applies(state, effects)

    def _log_matching(self, node: RawNode, index: int) -> None:
        if node.view.name != self.victim:
            super()._log_matching(node, index)


class _Scenario:
    """One divergence, from the start of the cluster to its end."""

    def __init__(self, schedule: Schedule, kind: str, *, away: bool) -> None:
        self._schedule, self._away = schedule, away
        self._struck_at = 0
        self._told_since_ms = 0  # the struck node, while it does not know it
        self._world = schedule.world
        self._hosts = list(schedule.hosts.values())
        self._kind = kind
        places = {host.name: f"{host.name}:1" for host in self._hosts}
        self._judge = _Judge(Membership(tuple(places), addresses=places))
        for host in self._hosts:
            host.judge_by(self._judge)

    def run(self) -> Counter[str]:
        for machine in self._schedule.machines:
            machine.stop()  # a watch at the node shows its state
        for watch in self._schedule.watch_clients:
            watch.stop()
        self._schedule.upgrades.put_above_floor()
        for host in self._hosts:
            host.sums_in_a_job = True
        self._schedule.first_starts()
        self._until("apply entries", lambda: self._have_applied(self._hosts, FIRST_ENTRIES))
        self._until("write a pair", self._has_pair)
        victim = self._strike()
        self._find(victim)
        if self._is_found(victim):
            assert victim.manager.read(["get a"]) == [DIVERGED]
            self._restart(victim, is_put_aside=self._stays(victim))
        elif self._is_undecided(victim):
            self._world.counts["decided by an operator"] += 1
            self._restart(victim, is_put_aside=False, is_wiped=True)
        else:
            self._world.counts["states replaced before"] += 1
            return Counter(self._world.counts)
        for client in self._schedule.clients:
            client.stop()  # a snapshot that is replaced again and again arrives slowly
        for talker in self._schedule.talkers:
            talker.stop()
        self._schedule.guests.finish()
        self._until("make the node whole again", lambda: self._is_whole(victim))
        self._until("agree", self._agree)
        self._until("commit", lambda: self._has_pair("2"))
        return Counter(self._world.counts)

    def _strike(self) -> Host:
        """Plant the divergence in a node, and return it. With nodes away, those that are left are
        just a quorum, the struck one included."""
        random, hosts = self._world.random, self._hosts
        if not self._away:
            victim = random.choice(hosts)
            self._plant(victim)
            return victim
        for host in hosts:
            host.watching = None  # a wrong state may spread, and its events are not judged
        self._until("elect a leader", lambda: bool(list(leaders(hosts))))
        victim = random.choice([random.choice(hosts), *(host for host, _ in leaders(hosts))])
        away = random.sample([host for host in hosts if host is not victim], (len(hosts) - 1) // 2)
        self._plant(victim, away)
        until_ms = self._now_in(AWAY_TIMEOUTS)
        while self._world.now_ms < until_ms:
            self._step(victim)
            accused = [host.name for host in hosts if host.node and host.node.view.differs]
            assert not accused, f"{accused} lost a vote, and no quorum knows who is right"
        self._struck_at = victim.manager.applied.index
        for host in away:
            host.start()
        return victim

    def _find(self, victim: Host) -> None:
        """Go on until the divergence is found, or its state has been replaced or has spread; or
        nobody is left who could decide."""
        until_ms = self._now_in(UNDECIDED_TIMEOUTS)
        self._until(
            "find it",
            lambda: (
                self._is_found(victim)
                or self._was_replaced(victim)
                or self._has_spread(victim)
                or (self._world.now_ms > until_ms and self._is_undecided(victim))
            ),
            victim,
        )

    def _is_undecided(self, victim: Host) -> bool:
        """Whether the leader knows of the difference, and the state of another node came by a
        snapshot since, so that it is not a witness."""
        names = {host.name for host in self._hosts if host is victim}
        for host, view in leaders(self._hosts):
            known = set(view.undecided)
            received = [one.received_index for one in view.progress.values()]
            if (
                any([view.received_index, *received])
                and known
                and (known == names or host is victim)
            ):
                return True
        return False

    def _now_in(self, timeouts: int) -> int:
        return self._world.now_ms + timeouts * self._schedule.plan.options.election_timeout_ms

    def _step(self, victim: Host) -> None:
        """Take a step. A node that was told that it differs, and does, is soon in quarantine."""
        self._world.step()
        told = [view for _, view in leaders(self._hosts) if self._is_told(victim, view)]
        if victim.node is None or not victim.may_differ or not told or victim.node.view.differs:
            self._told_since_ms = self._world.now_ms
        late_ms = self._world.now_ms - self._told_since_ms
        limit_ms = TOLD_TIMEOUTS * self._schedule.plan.options.election_timeout_ms
        assert late_ms <= limit_ms, f"{victim.name} was told that it differs, and goes on"

    def _is_told(self, victim: Host, view: NodeView) -> bool:
        progress = view.progress.get(victim.name)
        return progress is not None and progress.is_told

    def _until(self, what: str, is_so: Callable[[], bool], victim: Host | None = None) -> None:
        deadline_ms = self._world.now_ms + WITHIN_MS
        while not is_so():
            assert self._world.now_ms < deadline_ms, f"the cluster does not {what}"
            if victim is not None:
                self._step(victim)
                continue
            for _ in range(STEPS):
                self._world.step()

    def _have_applied(self, hosts: Iterable[Host], index: int) -> bool:
        return all(host.node is not None and host.node.view.applied >= index for host in hosts)

    def _is_found(self, victim: Host) -> bool:
        return victim.node is not None and victim.node.view.differs > 0

    def _was_replaced(self, victim: Host) -> bool:
        """Whether a snapshot of the leader, for a node that lacks many entries, has replaced a
        snapshot that was spoiled."""
        if self._kind == "snapshot":
            return victim.manager.store.held.get(KEY, "").startswith("1")
        return self._away and self._agrees(victim)

    def _agrees(self, victim: Host) -> bool:
        """Whether the leader has heard equal sums of the struck node since then, of both kinds."""
        return any(
            progress.difference is None
            and min(progress.entries.agreed_index, progress.state.agreed_index) > self._struck_at
            for _, view in leaders(self._hosts)
            for name, progress in view.progress.items()
            if name == victim.name
        )

    def _has_spread(self, victim: Host) -> bool:
        """Whether the node has become the leader, and another node holds its spoiled snapshot."""
        others = [host for host in self._hosts if host is not victim]
        return any(not host.manager.store.held.get(KEY, "1").startswith("1") for host in others)

    def _stays(self, victim: Host) -> bool:
        """Run the others for some election timeouts: the node neither leads nor reads. Return
        False once a snapshot of the leader has replaced its state."""
        differs = 0
        until_ms = self._world.now_ms + 20 * self._schedule.plan.options.election_timeout_ms
        while self._world.now_ms < until_ms:
            if victim.node is None:  # it died at its disk
                return True
            view = victim.node.view
            if not view.differs:
                assert view.log.base_index >= differs, f"{victim.name} forgot that it differs"
                return False
            assert not view.is_leader, f"{victim.name} leads"
            differs = view.differs
            self._world.step()
        return True

    def _restart(self, victim: Host, *, is_put_aside: bool, is_wiped: bool = False) -> None:
        victim.stop(power_cut=self._world.chance(0.5))
        if is_wiped:
            victim.disk.lose_all(trace=False)
        victim.may_differ, self._judge.victim = False, ""
        victim.watching = self._watching
        victim.start()
        # If a snapshot has replaced the state, it may not be on disk yet.
        assert victim.disk.folder.exists(f"{victim.name}.log.differs-1") or not is_put_aside

    def _is_whole(self, victim: Host) -> bool:
        view = victim.node.view if victim.node is not None else None
        return view is not None and not view.recovering and not view.differs

    def _agree(self) -> bool:
        """Whether all nodes hold the same pairs after the same entry, a later one than before."""
        states = [(host.manager.applied, dict(host.manager.store.held)) for host in self._hosts]
        return all(state == states[0] for state in states)

    def _has_pair(self, value: str = "1") -> bool:
        """Whether all nodes hold the pair; if none does, ask the leader for it."""
        held = [host.manager.store.held.get(KEY, "") for host in self._hosts]
        holders = [one for one in held if one.startswith(value)]
        for host, view in leaders(self._hosts) if not holders else ():
            if host.node is not None and host.node.takes_proposals and not view.transfer:
                host.take(Propose([f"set {KEY} {value}"]))
        return len(holders) == len(self._hosts)

    # --- the divergences -------------------------------------------------------------------------

    def _plant(self, victim: Host, away: Sequence[Host] = ()) -> None:
        victim.may_differ, self._judge.victim = True, victim.name
        self._watching, victim.watching = victim.watching, None
        self._world.counts[f"divergences of the {self._kind}"] += 1
        if self._kind == "machine":
            self._stop(away)
            victim.manager.errs = self._spoil_pair
            return
        if self._kind == "snapshot":
            self._until("take a snapshot", lambda: _spoil_snapshot(victim) is not None)
        else:
            self._until("write a set", lambda: self._spoil_entry(victim) is not None)
        victim.stop(power_cut=False)
        is_snapshot = self._kind == "snapshot"
        files = _spoil_snapshot(victim) if is_snapshot else self._spoil_entry(victim)
        assert files is not None
        victim.disk.folder = MemoryFolder(files)
        self._stop(away)
        victim.start()

    def _stop(self, away: Sequence[Host]) -> None:
        """Stop some nodes, and wait until their last sums are of no verdict any more."""
        for host in away:
            host.stop(power_cut=self._world.chance(0.5))
        until_ms = self._now_in(2) if away else 0
        while self._world.now_ms < until_ms:
            self._world.step()

    def _spoil_pair(self, manager: LogManager) -> None:
        """Change a value, as a state machine that is not deterministic does, until that is
        found."""
        held = manager.store.held
        if held[KEY].startswith("1") and not self._world.counts["nodes that differ"]:
            held[KEY] = _flipped(held[KEY])

    def _spoil_entry(self, victim: Host) -> dict[str, bytes] | None:
        """Return the files of a node with an entry edited in its log that all nodes have applied,
        and the checksum of its batch made good; None if there is no such entry."""
        files, name = victim.disk.folder.contents(), f"{victim.name}.log"
        applied = min(host.manager.applied.index for host in self._hosts)
        covered = victim.manager.snapshots.current
        lines = files.get(name, b"").splitlines(keepends=True)
        for at, line in enumerate(lines):
            found = _SET.match(line)
            first = covered.index if covered is not None else 0
            if found is not None and first < int(found[1]) <= applied:
                lines[at] = line.rstrip(b"\n") + b"!\n"
                return {**files, name: with_checksums(lines)}
        return None


def _flipped(held: str) -> str:
    """Return a value with a bit of its first character flipped."""
    return chr(ord(held[0]) ^ 1) + held[1:]


def _spoil_snapshot(victim: Host) -> dict[str, bytes] | None:
    """Return the files of a node with a bit flipped in a pair of its snapshot, and its checksums
    made good; None if there is no such pair."""
    files, name = victim.disk.folder.contents(), f"{victim.name}.state_machine"
    if name not in files:
        return None
    folder = MemoryFolder({name: files[name]})
    loaded = SnapshotFile(folder, victim.name).read()
    if KEY not in loaded.pairs:
        return None
    loaded.pairs[KEY] = _flipped(loaded.pairs[KEY])
    state = MachineState(
        *loaded.snapshot[:2], loaded.members, loaded.sessions, loaded.pairs,
        leases=loaded.leases, cluster=loaded.cluster, users=loaded.users, chain=loaded.chain,
    )  # fmt: skip
    return {**files, name: b"".join(format_snapshot(state))}
