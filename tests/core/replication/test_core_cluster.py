"""Servers that carry out Effects as docs/use/core.md says, and no better: a small world by seed.

Only names of `raftline.raft` are used. Messages are lost, repeated and overtaken. Writes are late,
and a crash loses those that were not synced. Members change, and newcomers need a snapshot.
"""

from __future__ import annotations

import contextlib
import dataclasses
import heapq
import json
import random
import zlib
from collections.abc import Iterator, Sequence

import pytest

from raftline import raft

OPTIONS = raft.Options(trailing_bytes=20, chunk_bytes=1000)
SNAPSHOT_EVERY = 20
FIRST = ("s1", "s2", "s3")


def members_of(names: Sequence[str]) -> raft.Membership:
    return raft.all_vote({name: f"localhost:{52000 + int(name[1:])}" for name in names})


def identity(snapshot: bytes) -> raft.Snapshot:
    state = json.loads(snapshot)
    return raft.Snapshot(state["index"], state["term"], len(snapshot), zlib.crc32(snapshot))


class Disk:
    """The writes of one server: durable facts, and Effects that wait for the disk."""

    def __init__(self, members: raft.Membership) -> None:
        first = {"index": 0, "term": 0, "members": members.format(), "commands": []}
        self.snapshot = json.dumps(first).encode()
        self.saved = raft.HardState(0, None)
        self.marks = (False, True, False)  # recovering, newborn, may_be_new
        self.entries: list[raft.Entry] = []
        self.chunks = bytearray()
        self.queue: list[tuple[raft.Effects, tuple[bool, bool, bool]]] = []

    @property
    def holds_promise(self) -> bool:
        return any(effects.holds_promise for effects, _ in self.queue)

    def write(self, effects: raft.Effects, marks: tuple[bool, bool, bool]) -> None:
        """Write step 2 of one Effects."""
        self.saved = effects.save or self.saved
        if effects.forgot or effects.recovered:
            self.marks = marks
        if effects.cut_after is not None:
            self.entries = [entry for entry in self.entries if entry.index <= effects.cut_after]
        self.entries += effects.append
        for chunk in effects.chunks:
            self.chunks[chunk.offset :] = chunk.data
        if effects.install is not None:
            self.snapshot, self.entries = bytes(self.chunks), []

    def log(self) -> raft.Log:
        """Return the log after the snapshot, which may end before it or differ at its end."""
        base = identity(self.snapshot)
        log = raft.Log(base.index, base.term)
        for index, term, command in self.entries:
            if index > base.index:
                log.append(term, command)
        return log


class Server:
    """One server, up as long as it has a core."""

    def __init__(self, world: World, name: str, members: raft.Membership) -> None:
        self.world, self.name = world, name
        self.disk = Disk(members)
        self.starts = 0
        self.commands: list[str] = []
        self.index = self.term = 0
        self.core: raft.RawNode | None = None

    def start(self) -> None:
        disk, self.starts = self.disk, self.starts + 1
        members = raft.read_membership(self.load(disk.snapshot)) or raft.Membership(())
        recovering, newborn, may_be_new = disk.marks
        self.core = raft.node_from_disk(
            self.name, members, disk.log(), disk.saved, OPTIONS,
            lambda: self.world.draw.randrange(500, 1000), self.world.now_ms,
            recovering=recovering, newborn=newborn, may_be_new=may_be_new,
            incarnation=self.starts, snapshot=identity(disk.snapshot) if self.index else None,
        )  # fmt: skip

    def crash(self) -> None:
        """Lose the memory, and the writes that were not synced, except some of the first."""
        self.core = None
        for effects, marks in self.disk.queue[: self.world.draw.randrange(3)]:
            self.disk.write(effects, marks)
        self.disk.queue.clear()

    def load(self, snapshot: bytes) -> str:
        state = json.loads(snapshot)
        self.index, self.term, self.commands = state["index"], state["term"], state["commands"]
        return str(state["members"])

    def step(self, event: raft.Input) -> None:
        if (core := self.core) is None:
            return
        events = [event]
        while events:
            effects = core.step(events.pop(0), self.world.now_ms)
            events += self.carry_out(core, effects)

    def carry_out(self, core: raft.RawNode, effects: raft.Effects) -> Iterator[raft.Input]:
        disk, view = self.disk, core.view
        yield from self.send(effects.send)
        if effects.send_past_entries and not (disk.holds_promise or effects.holds_promise):
            yield from self.send(effects.send_past_entries)
            effects.send_past_entries = []
        if effects.install is not None:
            while disk.queue:  # before the state is replaced by what the file holds
                disk.write(*disk.queue.pop(0))
            self.load(bytes(disk.chunks))
            self.world.installed.add(self.name)
        has_messages = effects.send_past_entries or effects.send_after_save
        if effects.wants_disk or has_messages:
            disk.queue.append((effects, (view.recovering, view.newborn, view.may_be_new)))
        for entry in effects.apply:
            self.index, self.term = entry[:2]
            self.commands.append(entry.command)
        if effects.apply or effects.install is not None:
            yield raft.Applied(self.index)
        self.world.check(self)
        for read in effects.reads:
            self.world.serve_read(read.token, self.commands)
        for settled in effects.settled:
            self.world.settled.append(settled.outcome)

    def sync(self) -> None:
        """End one write of all that waits; report it."""
        queue, self.disk.queue = self.disk.queue, []
        for effects, marks in queue:
            self.disk.write(effects, marks)
        for effects, _ in queue:
            for event in self.send([*effects.send_past_entries, *effects.send_after_save]):
                self.step(event)
            if effects.check is not None:
                self.step(self.checked(effects.check))
        if queue:
            last = [identity(self.disk.snapshot)[:2], *[entry[:2] for entry in self.disk.entries]]
            self.step(raft.Synced(*last[-1]))

    def checked(self, wanted: raft.Snapshot) -> raft.Input:
        chunks = self.disk.chunks
        if (len(chunks), zlib.crc32(chunks)) != (wanted.size, wanted.crc):
            return raft.SnapshotRejected(wanted, "damaged")
        members = raft.read_membership(json.loads(chunks)["members"])
        assert members is not None
        return raft.SnapshotChecked(wanted, members)

    def send(self, messages: Sequence[raft.Message]) -> Iterator[raft.Input]:
        for message in messages:
            if isinstance(message, raft.InstallSnapshot):
                if message.snapshot != identity(self.disk.snapshot):
                    yield raft.SnapshotGone(message.to, message.snapshot)
                    continue
                data = self.disk.snapshot[message.offset :][: message.length]
                message = dataclasses.replace(message, data=data.decode())
            self.world.send(message)

    def take_snapshot(self) -> None:
        """Take one of the applied state, as soon as no write waits."""
        core, disk = self.core, self.disk
        if (
            core is None
            or disk.queue
            or self.index < identity(disk.snapshot).index + SNAPSHOT_EVERY
        ):
            return
        members = core.view.configurations.at(self.index).format()
        state = {"index": self.index, "term": self.term, "members": members}
        disk.snapshot = json.dumps({**state, "commands": self.commands}).encode()
        disk.entries = [entry for entry in disk.entries if entry.index > self.index]
        self.step(raft.SnapshotTaken(identity(disk.snapshot)))
        self.step(raft.Compact(core.view.compaction_index))


class World:
    """Some servers, the messages between them, and the one history that all must show."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.now_ms = 0
        self.is_calm = False
        self.flying: list[tuple[int, int, raft.Message]] = []
        self.history: list[str] = []  # the commands that some server has executed
        self.installed: set[str] = set()  # servers that got a snapshot
        self.settled: list[str] = []
        self.reads = self.sent = 0
        self.servers = {name: Server(self, name, members_of(FIRST)) for name in FIRST}
        for server in self.servers.values():
            server.start()

    def chance(self, once_in: int) -> bool:
        return self.draw.randrange(once_in) == 0

    def send(self, message: raft.Message) -> None:
        """Carry a message as a line: lost, late, twice, or overtaken."""
        if not self.is_calm and self.chance(20):
            return
        line = raft.format_message(message)
        read = raft.read_message(message.sender, message.to, line)
        for _ in range(1 + (not self.is_calm and self.chance(20))):
            self.sent += 1
            late_ms = self.now_ms + self.draw.randrange(1, 20)
            heapq.heappush(self.flying, (late_ms, self.sent, read))

    def check(self, server: Server) -> None:
        """Compare what a server has executed with the history, and add what is new."""
        assert len(server.commands) == server.index
        shared = min(server.index, len(self.history))
        assert server.commands[:shared] == self.history[:shared]
        self.history += server.commands[shared:]

    def serve_read(self, known: int, commands: Sequence[str]) -> None:
        self.reads += 1
        assert len(commands) >= known, "a stale read"

    @property
    def leader(self) -> raft.RawNode | None:
        """The core that leads the latest term and takes proposals."""
        cores = [server.core for server in self.servers.values() if server.core is not None]
        leaders = [core for core in cores if core.takes_proposals]
        return max(leaders, key=lambda core: core.view.term, default=None)

    def pass_ms(self) -> None:
        self.now_ms += 1
        while self.flying and self.flying[0][0] <= self.now_ms:
            message = heapq.heappop(self.flying)[2]
            with contextlib.suppress(raft.PeerError):  # of a server that is not known (yet)
                if message.to in self.servers:
                    self.servers[message.to].step(raft.Receive(message))
        for server in self.servers.values():
            if server.core is not None:
                self.take_turn(server, server.core)
            elif self.is_calm or self.chance(300):
                server.start()
        if self.chance(20) and (leader := self.leader) is not None:
            self.servers[leader.view.name].step(raft.Propose([f"command {self.now_ms}"]))

    def take_turn(self, server: Server, core: raft.RawNode) -> None:
        """Make a server that is up do some of what it has to do, or crash it."""
        if self.now_ms >= core.wake_at_ms:
            server.step(raft.Tick())
        if self.chance(15):
            server.sync()
            server.take_snapshot()
        if not self.is_calm and self.chance(1000):
            server.crash()
        elif self.chance(50):
            known = [len(self.history)]
            server.step(raft.Read(known) if core.view.is_leader else raft.AskLeader(known))

    def run_until(self, what: str, limit_ms: int = 60_000) -> Iterator[raft.RawNode]:
        """Pass time, and yield the core of the leader, until the caller breaks."""
        for _ in range(limit_ms):
            self.pass_ms()
            if (leader := self.leader) is not None:
                yield leader
        pytest.fail(f"not within {limit_ms:,} ms: {what}")

    def change(self, change: raft.Change, members: set[str]) -> None:
        """Ask the leader for a change, again after each of them is lost, until it is committed."""
        for number, core in enumerate(self.run_until(str(change))):
            view = core.view
            if set(view.membership.voters) == members and not view.membership.is_joint:
                if view.configurations.index <= view.commit_index:
                    break
            elif number % 1000 == 0:
                self.servers[view.name].step(raft.ChangeMembers(change, None))


SEEDS = [*range(4), *[pytest.param(seed, marks=pytest.mark.nightly) for seed in range(4, 60)]]


@pytest.mark.parametrize("seed", SEEDS)
def test_program_of_the_page_replicates_through_faults(seed: int) -> None:
    """The program also changes the members."""
    world = World(seed)
    for _ in world.run_until("a history"):
        if len(world.history) > 10 * SNAPSHOT_EVERY:
            break
    world.servers["s4"] = Server(world, "s4", raft.Membership(()))
    world.change(raft.Change("add", "s4", "localhost:52004"), {"s1", "s2", "s3", "s4"})
    world.change(raft.Change("remove", "s1"), {"s2", "s3", "s4"})
    del world.servers["s1"]
    world.is_calm = True
    goal = len(world.history) + 50
    for core in world.run_until("the same history everywhere"):
        if core.view.commit_index > goal:
            lengths = {server.index for server in world.servers.values()}
            if min(lengths) > goal:
                break
    assert "s4" in world.installed
    assert world.reads > 100
    assert "done" in world.settled
