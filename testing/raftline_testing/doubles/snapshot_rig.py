"""The driver and the threads of snapshots, over a folder in memory and without a socket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from raftline.common.process.wakeup import Wakeup
from raftline.logmanager import LogManager
from raftline.node.clock import SYSTEM
from raftline.node.loop.driver import Driver
from raftline.node.snapshots.file_check import FileCheck
from raftline.node.snapshots.snapshot_threads import SnapshotThreads
from raftline.node.snapshots.snapshots import Turns
from raftline.raft.effects import Effects
from raftline.raft.log import Snapshot
from raftline.raft.membership import all_vote
from raftline.raft.messages import AppendEntries, InstallSnapshot, Message
from raftline.raft.node import node_from_disk
from raftline.raft.state import Options
from raftline.storage.log_file import LogRewrite
from raftline.storage.snapshot_file import SnapshotFile
from raftline.storage.snapshot_lines import MachineState
from raftline.wire.peer_lines import format_message

from ..files.faulty_folder import MemoryFolder
from ..files.node_files import MEMBERS, entries
from ..files.snapshot_writing import write_snapshot

DEADLINE_S = 60.0
OPTIONS = Options(election_timeout_ms=60_000, trailing_bytes=0)


class HeldManager(LogManager):
    """Writes nothing while `held` is."""

    def __init__(self, name: str, folder: MemoryFolder, members: dict[str, str]) -> None:
        super().__init__(name, folder, members)
        self.held = threading.Lock()
        self.is_writing = False

    def write(self, works: Sequence[Effects]) -> tuple[int, int] | None:
        self.is_writing = True
        with self.held:
            self.is_writing = False
            return super().write(works)


class Rig:
    """Node s2 with its driver and the threads of snapshots; s1 is played by the test."""

    def __init__(self, folder: MemoryFolder, compact_bytes: int, members: dict[str, str]) -> None:
        self.folder = folder
        self.answers: list[str] = []
        self.posted: list[InstallSnapshot] = []
        self.said: list[str] = []
        self.failures: list[BaseException] = []
        self.changed = threading.Condition()
        self.manager = HeldManager("s2", folder, members)
        recovered = self.manager.recover()
        node = node_from_disk(
            "s2",
            recovered.members,
            recovered.log,
            recovered.hard_state,
            OPTIONS,
            lambda: 60_000,
            SYSTEM.now_ms(),
            snapshot=recovered.snapshot,
        )
        self.driver = Driver(node, self.manager, self, hold_ms=1000)
        self.threads = SnapshotThreads(
            self.driver, self.manager, self.post, self.say, compact_bytes
        )
        self.snapshots = self.threads.work
        self.check = FileCheck(self.manager, self.snapshots.write_again, self.say)
        self.driver.start("s2")

    @property
    def jobs(self) -> Any:
        """The jobs that wait for the writer to be between two writes."""
        return self.driver._writer._jobs

    @property
    def open_snapshot(self) -> Any:
        """The snapshots whose pieces are read, with their files."""
        return self.snapshots._open

    @property
    def applying(self) -> Any:
        return self.driver._applying

    # Requests of the driver and the threads to the world.

    def send(self, message: Message) -> None:
        if isinstance(message, InstallSnapshot):
            self.snapshots.send(message)

    def answer(self, messages: Sequence[Message]) -> None:
        with self.changed:
            self.answers += [format_message(message) for message in messages]
            self.changed.notify_all()

    def not_leader(self, leader: str) -> str:
        return f"Sorry, {leader}"

    def report(self, effects: Effects) -> None:
        for note in effects.notes:
            self.say(note)

    def wrote(self, arrived: Snapshot | None) -> None:
        self.snapshots.wrote(arrived)

    def applied(self) -> None:
        """Nobody waits for it here."""

    def give_up_late(self, now: int) -> None:
        """Nobody asks here."""

    def fail(self, error: BaseException) -> None:
        with self.changed:
            self.failures.append(error)
            self.changed.notify_all()

    def post(self, message: InstallSnapshot) -> None:
        with self.changed:
            self.posted.append(message)
            self.changed.notify_all()

    def say(self, line: str) -> None:
        with self.changed:
            self.said.append(line)
            self.changed.notify_all()

    # Actions of a test.

    def receive(self, *messages: Message) -> None:
        assert self.driver.receive(messages, self) == []

    def append(self, first: int, term: int, commit: int, *commands: str, prev_term: int) -> None:
        new = entries(first, term, *commands)
        self.receive(AppendEntries("s1", "s2", term, first - 1, prev_term, new, commit, 1))
        self.driver._step(lambda stepper: stepper.apply_slice())  # else it might be applied later
        assert self.driver.status()["last_applied"] == commit

    def grow(self) -> None:
        """Take 40 entries from the leader, for 40 keys."""
        commands = [f"set k{number} {'v' * 40}" for number in range(40)]
        self.append(1, 1, 40, *commands, prev_term=0)

    def wait_for(self, fact: Callable[[], object]) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: fact() or self.failures, DEADLINE_S), self.said
        assert self.failures == []

    def publish(self, snapshot: Snapshot) -> bool:
        return self.do(self.snapshots._publish(snapshot))

    def finish(self, rewrite: LogRewrite) -> bool:
        return self.do(self.snapshots._finish(rewrite))

    def do(self, turns: Turns[bool]) -> bool:
        """Do a part of a job in this thread."""
        try:
            turn = next(turns)
            while turn is not None:
                turn = turns.send(self.threads._has_come(turn, Wakeup()))
        except StopIteration as end:
            return bool(end.value)
        raise AssertionError("it pauses")

    def wait_for_line(self, part: str) -> None:
        self.wait_for(lambda: any(part in line for line in self.said))


def leaders_snapshot(pairs: dict[str, str]) -> tuple[bytes, Snapshot]:
    folder = MemoryFolder()
    file = SnapshotFile(folder, "s1")
    state = MachineState(20, 3, all_vote(MEMBERS), [], pairs)
    snapshot = write_snapshot(file, state)
    file.publish(snapshot)
    return folder.content(file.name), snapshot


def pieces(data: bytes, snapshot: Snapshot, size: int) -> list[InstallSnapshot]:
    return [
        InstallSnapshot(
            "s1",
            "s2",
            3,
            snapshot,
            begin,
            len(data[begin : begin + size]),
            1,
            data[begin : begin + size].decode("utf-8", "surrogateescape"),
        )
        for begin in range(0, len(data), size)
    ]
