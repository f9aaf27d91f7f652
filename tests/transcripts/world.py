"""A cluster of cores with no socket, no file and no waiting: virtual time, a network of pending
lines, and a disk that carries out Effects in their order. Everything that happens is said."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from raftline.raft import spelling
from raftline.raft.change import Change
from raftline.raft.effects import Effects, HardState
from raftline.raft.entries import Entry, Snapshot
from raftline.raft.inputs import (
    AskLeader,
    ChangeMembers,
    Propose,
    Read,
    Receive,
    SnapshotChecked,
    SnapshotGone,
    SnapshotRejected,
    SnapshotTaken,
    Synced,
    Tick,
    Transfer,
)
from raftline.raft.log import Log
from raftline.raft.membership import Membership, read
from raftline.raft.messages import InstallSnapshot, Message, PeerError
from raftline.raft.node import RawNode, node_from_disk
from raftline.raft.state import Options
from raftline.raft.transfer import TransferRefused
from tests.core.cores import compact
from tests.invariants import Invariants
from tests.transcripts.machine import Machine

PATIENCE = 1000  # steps; a transcript that needs more goes round in circles
NOBODY = Membership(())


def change_of(command: str) -> Change | None:
    """Return the change of members that a command asks for; here a server lives at its name."""
    match command.split():
        case [("add" | "remove" | "promote" | "demote") as verb, name]:
            return Change(verb, name, f"{name}:1" if verb == "add" else "")
        case ["replace", old, name]:
            return Change("replace", name, f"{name}:1", old)
    return None


@dataclass
class Disk:
    """The disk of a server: all that survives a crash."""

    hard_state: HardState = field(default_factory=lambda: HardState(0, None))
    entries: list[Entry] = field(default_factory=list)
    recovering: bool = False
    newborn: bool = False
    may_be_new: bool = False
    lives: int = 0  # how often it was started from
    base: tuple[int, int] = (0, 0)  # index and term that `entries` follow on
    snapshot: Snapshot | None = None
    snapshot_text: str = ""
    part: str = ""  # of a snapshot that arrives


@dataclass
class Server:
    """One node with the little of a rim that a transcript needs."""

    name: str
    timeouts: list[int]
    disk: Disk = field(default_factory=Disk)
    base: Membership = NOBODY  # the members at birth; nobody where it waits to be added
    node: RawNode | None = None  # None: it is down
    disk_held: bool = False
    unsaved: list[Effects] = field(default_factory=list)
    machine: Machine = field(default_factory=Machine)
    writes: dict[int, tuple[str, str]] = field(default_factory=dict)  # index to client, command
    held: list[tuple[str, str]] = field(default_factory=list)  # while it gives way: client, command
    clock_percent: int = 100  # of the world's pace

    def pick_timeout_ms(self) -> int:
        return self.timeouts.pop(0) if len(self.timeouts) > 1 else self.timeouts[0]

    @property
    def wake_at_ms(self) -> int:
        """The moment, in the world's time, at which the node wants to be woken by its clock."""
        assert self.node is not None
        return -(-self.node.wake_at_ms * 100 // self.clock_percent)


class World:
    """Servers, what is on its way between them, and the time. `said` is the transcript; a kind
    goes before each line, so that a reader may ask for the important ones only."""

    def __init__(self) -> None:
        self.options = Options(election_timeout_ms=150, heartbeat_ms=50, trailing_bytes=0)
        self.now_ms = 0
        self.servers: dict[str, Server] = {}
        self.pending: list[tuple[str, str, str]] = []  # from, to, message
        self.cuts: set[tuple[str, str]] = set()
        self.said: list[tuple[str, str]] = []
        self.checks = Invariants()

    def time_at(self, server: Server) -> int:
        """The time by a server's own clock."""
        return self.now_ms * server.clock_percent // 100

    def say(self, kind: str, text: str) -> None:
        self.said.append((kind, text))

    # --- servers --------------------------------------------------------------------------

    def boot(self, server: Server) -> None:
        """Start a server from what its disk holds."""
        log = Log(*server.disk.base)
        for entry in server.disk.entries:
            log.append(entry.term, entry.command)
        server.machine = Machine(server.disk.snapshot_text)
        server.disk.part = ""
        server.disk.lives += 1
        server.node = node_from_disk(
            server.name,
            _members_of(server.disk.snapshot_text) or server.base,
            log,
            server.disk.hard_state,
            self.options,
            server.pick_timeout_ms,
            self.time_at(server),
            recovering=server.disk.recovering,
            newborn=server.disk.newborn,
            may_be_new=server.disk.may_be_new,
            incarnation=server.disk.lives,
            snapshot=server.disk.snapshot,
        )
        self.checks.started(server.node)

    def crash(self, server: Server) -> None:
        """Lose all but the disk: what was not synced, what was on its way here, who waited."""
        server.node = None
        server.disk_held = False
        server.unsaved.clear()
        server.writes.clear()
        server.held.clear()
        self.pending = [line for line in self.pending if line[1] != server.name]

    def status(self, server: Server) -> str:
        if server.node is None:
            return f"{server.name} is down"
        state = server.node.view
        base = state.log.base_index
        terms = [str(state.log.term_at(i)) for i in range(base + 1, state.log.last_index + 1)]
        if base:
            terms.insert(0, f"from {base}:")
        has_changed = state.configurations.index > base or state.membership != server.base
        return (
            f"{server.name} {state.role.value}, term {state.term}, "
            f"log {' '.join(terms) or 'empty'}, commit {state.commit_index}"
            + (", without vote" if state.recovering else "")
            + (f", {state.membership.describe()}" if has_changed else "")
        )

    # --- inputs ---------------------------------------------------------------------------

    def step(self, server: Server, take: Callable[[RawNode], Effects]) -> None:
        """Let a node take one input, and carry its Effects out in their order."""
        node = server.node
        assert node is not None, f"{server.name} is down"
        effects = take(node)
        self.checks.stepped(node, effects)
        for note in effects.notes:
            self.say("note", f"{server.name}: {note}")
        for message in effects.send:
            self._send(message)
        server.unsaved.append(effects)
        if effects.install is not None:
            server.machine = Machine(server.disk.part)
        synced = None if server.disk_held else self._flush(server)
        self._apply(server, effects)
        for ready in effects.reads:
            client, key = ready.token
            self._answer(server, client, server.machine.read(key))
        for client, _ in effects.refused:
            self._answer(server, client, self._not_leader(node))
        self._settle(server, effects)
        if server.writes and not node.view.is_leader:
            for client, _ in server.writes.values():
                self._answer(server, client, "Sorry, outcome unknown: I lead no longer")
            server.writes.clear()
        self._take_held(server, node)
        if synced is not None:
            last = synced
            self.step(
                server, lambda node: node.step(Synced(last.index, last.term), self.time_at(server))
            )

    def _take_held(self, server: Server, node: RawNode) -> None:
        """Let requests that waited for a leader come again once there is one."""
        gives_way = node.view.is_leader and not node.takes_proposals
        if server.held and node.view.leader is not None and not gives_way:
            held, server.held = server.held, []
            for client, command in held:
                self.request(server.name, client, command)

    def _settle(self, server: Server, effects: Effects) -> None:
        begin = {"refused": "Sorry, ", "unknown": "Sorry, outcome unknown: "}
        for client, outcome, text in effects.settled:
            self._answer(server, client, begin.get(outcome, "") + text)

    def release(self, server: Server) -> None:
        """The disk goes on: all that waits is written in order, with one sync."""
        server.disk_held = False
        last = self._flush(server)
        if last is not None:
            self.step(
                server, lambda node: node.step(Synced(last.index, last.term), self.time_at(server))
            )

    def receive(self, sender: str, to: str, text: str) -> None:
        """Let a line arrive at a server, be it sent by a peer or typed by anybody."""
        server = self.servers[to]
        if server.node is None:
            return
        try:
            message = spelling.read(sender, to, text)
            self.step(server, lambda node: node.step(Receive(message), self.time_at(server)))
        except PeerError as error:
            self.say("answer", f"{sender} <- {to}@Sorry, {error}")

    def request(self, to: str, client: str, command: str) -> None:
        """Let a client's command arrive at a server; `client` is NAME or NAME#ID."""
        server = self.servers[to]
        node = server.node
        assert node is not None, f"{to} is down"
        is_entry = command.startswith("get ") and command.endswith(" read log")
        command = command.removesuffix(" read log") if is_entry else command
        change = change_of(command)
        if change is not None and node.takes_proposals:
            self.step(
                server, lambda node: node.step(ChangeMembers(change, client), self.time_at(server))
            )
        elif command.startswith("get ") and not is_entry:
            self._read(server, node, client, command[4:])
        elif node.takes_proposals:
            has_session = "#" in client or command == "session"
            line = f"{client}@{command}" if has_session else command
            server.writes[node.view.log.last_index + 1] = (client, command)
            self.step(server, lambda node: node.step(Propose([line]), self.time_at(server)))
        elif node.view.is_leader:
            server.held.append((client, command))
        else:
            self._answer(server, client, self._not_leader(node))

    def _read(self, server: Server, node: RawNode, client: str, asked: str) -> None:
        """Serve `KEY` or `KEY read MODE`."""
        key, _, mode = asked.partition(" read ")
        token = (client, key)
        if mode == "local":
            self._answer(server, client, server.machine.read(key))
        elif mode == "lease" and node.view.is_leader:
            self.step(
                server, lambda node: node.step(Read([token], by_lease=True), self.time_at(server))
            )
        elif mode == "index" and not node.view.is_leader:
            self.step(server, lambda node: node.step(AskLeader([token]), self.time_at(server)))
        else:
            self.step(server, lambda node: node.step(Read([token]), self.time_at(server)))

    def hand_over(self, name: str, to: str | None) -> None:
        """Let a leader hand the leadership over."""
        server = self.servers[name]
        try:
            self.step(server, lambda node: node.step(Transfer(to), self.time_at(server)))
        except TransferRefused as refusal:
            self.say("answer", f"{name}: Sorry, {refusal}.")

    def wait(self, until_ms: int, *, deliver: bool) -> None:
        """Let time pass: each node does what its timers ask for, in order of time, then name."""
        for _ in range(PATIENCE):
            if deliver:
                self.deliver_until_quiet()
            due = [s for s in self.servers.values() if s.node and s.wake_at_ms <= until_ms]
            if not due:
                self.now_ms = until_ms
                return
            first = min(due, key=lambda server: server.wake_at_ms)
            self.now_ms = max(self.now_ms, first.wake_at_ms)
            clock_ms = self.time_at(first)
            self.step(first, lambda node, clock_ms=clock_ms: node.step(Tick(), clock_ms))
        raise AssertionError(f"time never comes to {until_ms} ms, timers stand still")

    def deliver_until_quiet(self) -> None:
        for _ in range(PATIENCE):
            if not self.deliver(lambda sender, to: True):
                return
        raise AssertionError("the network never becomes quiet")

    def next_wake_ms(self) -> int:
        return min(s.wake_at_ms for s in self.servers.values() if s.node)

    def deliver(self, wanted: Callable[[str, str], bool], *, drop: bool = False) -> int:
        """Let the lines that are pending now arrive, or lose them; return how many they were."""
        chosen = [line for line in self.pending if wanted(line[0], line[1])]
        self.pending = [line for line in self.pending if not wanted(line[0], line[1])]
        for sender, to, text in chosen:
            if not drop:
                self.receive(sender, to, text)
        return len(chosen)

    def take_snapshot(self, server: Server) -> None:
        """Let a server put its state machine on its disk, and its log begin behind that."""
        node, disk = server.node, server.disk
        assert node is not None, f"{server.name} is down"
        index = node.view.last_applied
        term = node.view.log.term_at(index)
        assert term is not None
        members = node.view.configurations.at(index)
        text = f"{members.spell()}\n" if members != server.base else ""
        text += server.machine.spell()
        snapshot = Snapshot(index, term, len(text), zlib.crc32(text.encode()))
        disk.snapshot, disk.snapshot_text = snapshot, text
        del disk.entries[: index - disk.base[0]]
        disk.base = (index, term)
        self.say("disk", f"{server.name} takes a snapshot up to entry {index} of term {term}")
        self.step(server, lambda node: node.step(SnapshotTaken(snapshot), self.time_at(server)))
        while compact(node, node.view.compaction_index):
            pass

    # --- effects --------------------------------------------------------------------------

    def _flush(self, server: Server) -> Entry | None:
        """Carry out steps 2 and 3 of all Effects that wait; return the last entry synced."""
        waiting, server.unsaved = server.unsaved, []
        last = None
        for effects in waiting:
            last = self._write(server, effects) or last
        if last is not None:
            last = server.disk.entries[-1] if server.disk.entries else last
            self.checks.synced(server.name, last.index)
        for effects in waiting:
            for message in effects.send_after_save:
                self._send(message)
            if effects.check is not None:
                self._check(server, effects.check)
        return last

    def _write(self, server: Server, effects: Effects) -> Entry | None:
        """Carry out step 2 of one Effects; return the last entry written."""
        name, disk, last = server.name, server.disk, None
        if effects.save is not None:
            disk.hard_state = effects.save
            self.checks.saved(name, effects.save)
            vote = f" vote {effects.save.vote}" if effects.save.vote else ""
            self.say("disk", f"{name} saves term {effects.save.term}{vote}")
        for chunk in effects.chunks:
            disk.part = disk.part[: chunk.offset] + chunk.data.decode()
        if effects.install is not None:
            last = self._install(server, effects.install)
        if effects.cut_after is not None:
            del disk.entries[effects.cut_after - disk.base[0] :]
            self.checks.cut(name, effects.cut_after)
            self.say("disk", f"{name} cuts after {effects.cut_after}")
        for entry in effects.append:
            disk.entries.append(entry)
            self.say("disk", f"{name} appends {entry.index} {entry.term} {entry.command}")
            last = entry
        if effects.forgot:
            disk.may_be_new = disk.newborn
            disk.newborn, disk.recovering = False, True
            self.checks.lost_a_log()
            self.say("disk", f"{name} writes down that it has no vote")
        if effects.recovered:
            disk.newborn = disk.recovering = disk.may_be_new = False
            self.say("disk", f"{name} writes down that it votes")
        return last

    def _install(self, server: Server, snapshot: Snapshot) -> Entry:
        """The snapshot that has arrived is in force, the log empty behind it."""
        disk = server.disk
        disk.snapshot, disk.snapshot_text, disk.part = snapshot, disk.part, ""
        disk.entries.clear()
        disk.base = (snapshot.index, snapshot.term)
        self.checks.cut(server.name, 0)
        self.say("disk", f"{server.name} has the snapshot of entry {snapshot.index} in force")
        return Entry(snapshot.index, snapshot.term, "")

    def _check(self, server: Server, snapshot: Snapshot) -> None:
        """All of a snapshot has arrived: hand it back checked, unless its bytes are wrong."""
        text, now_ms = server.disk.part, self.time_at(server)
        if (len(text), zlib.crc32(text.encode())) != snapshot[2:]:
            self.step(
                server, lambda node: node.step(SnapshotRejected(snapshot, "its CRC-32"), now_ms)
            )
        else:
            members = _members_of(text) or server.base
            self.step(server, lambda node: node.step(SnapshotChecked(snapshot, members), now_ms))

    def _send(self, message: Message) -> None:
        self.checks.sent(message)
        if isinstance(message, InstallSnapshot):
            server, snapshot = self.servers[message.sender], message.snapshot
            if server.disk.snapshot != snapshot:
                peer, now_ms = message.to, self.time_at(server)
                self.step(server, lambda node: node.step(SnapshotGone(peer, snapshot), now_ms))
                return
            text = server.disk.snapshot_text
            data = text[message.offset : message.offset + message.length]
            message = replace(message, data=data)
        sender, to, text = message.sender, message.to, spelling.spell(message)
        lost = (sender, to) in self.cuts
        lost = lost or to not in self.servers or self.servers[to].node is None
        self.say("send", f"{to} <- {sender}@{text}" + (" (lost)" if lost else ""))
        if not lost:
            self.pending.append((sender, to, text))

    def _apply(self, server: Server, effects: Effects) -> None:
        for entry in effects.apply:
            self.say("apply", f"{server.name} applies {entry.index} {entry.term} {entry.command}")
            reply = server.machine.apply(entry)
            if entry.index in server.writes:
                client, _ = server.writes.pop(entry.index)
                self._answer(server, client, reply)

    def _not_leader(self, node: RawNode) -> str:
        if node.view.leader is None:
            return "Sorry, I know of no leader. Try again."
        return f"Sorry, I am not the leader. Last leader I heard from is: {node.view.leader}"

    def _answer(self, server: Server, client: str, text: str) -> None:
        name, mark, number = client.partition("#")
        self.say("answer", f"{name} <- {server.name}{mark}{number}@{text}")


def _members_of(text: str) -> Membership | None:
    """Return the members that a snapshot names, if they are others than those at birth."""
    return read(text.partition("\n")[0])
