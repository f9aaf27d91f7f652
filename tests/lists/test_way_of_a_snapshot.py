"""The modules that a snapshot passes, from the leader's state to the state of one follower.

Two nodes run it, without sockets and threads: cores, files in memory, and the jobs of snapshots.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import FrameType

import pytest

import raftline.logmanager
from raftline.logmanager import LogManager
from raftline.node.loop.writer import WriteQueue
from raftline.node.snapshots.snapshots import Snapshots, When
from raftline.raft.inputs import Applied, Input, Propose, Receive, Synced, Tick
from raftline.raft.messages import InstallSnapshot, Message
from raftline.raft.node import RawNode, node_from_disk
from raftline.raft.state import Options
from raftline_testing.files.faulty_folder import MemoryFolder
from tests.lists.test_way_of_a_write import VALUES

pytestmark = pytest.mark.pure
SOURCE = Path(raftline.logmanager.__file__).parent
OPTIONS = Options(election_timeout_ms=150, heartbeat_ms=50, trailing_bytes=0, chunk_bytes=100)
FILES_MAX = 14  # that a reader opens
PLACES = {"s1": "localhost:10000", "s2": "localhost:10001", "s3": "localhost:10002"}


# Asked or used on the way, and not on it: what a snapshot gets of each.
ASKED = {
    "node/disk_room.py": "whether the disk has room for it: it has",
    "node/loop/writer.py": "whether anything waits that precedes a snapshot: nothing does",
    "raft/election.py": "whether a quorum answered the leader: it did",
    "raft/levels.py": "the levels in the log, which begins later now",
    "raft/messages.py": "the bytes of a piece",
    "raft/roles.py": "the number of a round of heartbeats",
    "state/lease_table.py": "the lines of leases: there are none",
    "state/sessions.py": "the lines of sessions: there are none",
    "storage/hard_state.py": "the mark in NAME.storage, and the term",
}


class Server:
    """A node, and what its threads do with its Effects; the `SnapshotRim` of its jobs."""

    def __init__(self, name: str, timeout_ms: int) -> None:
        self.manager = LogManager(name, MemoryFolder(), PLACES)
        found = self.manager.recover()
        self.node: RawNode = node_from_disk(
            name, found.members, found.log, found.hard_state, OPTIONS, lambda: timeout_ms, 0
        )
        self.core: AbstractContextManager[object] = nullcontext()
        self.now_ms = 0
        self.sent: list[Message] = []
        writes = WriteQueue(lambda: None)
        self.work = Snapshots(self.node, self.manager, writes, self, 1 << 20)
        self._jobs = [self.work.take_and_check(), self.work.send_pieces()]
        self._turns = [next(job) for job in self._jobs]

    def step(self, taken: Input) -> None:
        effects = self.node.step(taken, self.now_ms)
        if effects.install is not None:
            self.manager.take_over(effects.install)
        durable = self.manager.persist([effects]) if effects.wants_disk else None
        for message in effects.messages():
            if isinstance(message, InstallSnapshot):
                self.work.send(message)
            else:
                self.sent.append(message)
        if effects.apply:
            self.manager.apply(effects.apply)
        if self.manager.applied.index > self.node.view.applied:
            self.step(Applied(self.manager.applied.index))
        if effects.check is not None:
            self.work.wrote(effects.check)
        if durable is not None:
            self.step(Synced(*durable))

    def post(self, message: InstallSnapshot) -> None:
        self.sent.append(message)

    def work_on(self) -> None:
        """Do the two jobs as far as they have something to do."""
        for place, job in enumerate(self._jobs):
            turn, was_woken = self._turns[place], True
            while was_woken or turn is None or turn.when is not When.WOKEN:
                was_woken = False
                turn = job.send(turn.act() if turn is not None and turn.act is not bool else True)
            self._turns[place] = turn

    def say(self, line: str) -> None: ...
    def breathe(self) -> None: ...
    def spread(self) -> float:
        return 1.0

    def wake_taker(self) -> None: ...
    def wake_sender(self) -> None: ...


class Passed:
    """Collects the modules in which a function runs."""

    def __init__(self) -> None:
        self.modules: set[str] = set()

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(SOURCE):
            self.modules.add(path.relative_to(SOURCE).as_posix())


def exchange(servers: dict[str, Server], *names: str) -> None:
    """Carry messages between these, and do their jobs, until nobody has more to say."""
    while any(servers[name].sent for name in names):
        for name in names:
            messages, servers[name].sent = servers[name].sent, []
            for message in messages:
                if message.to in names:
                    servers[message.to].step(Receive(message))
        for name in names:
            servers[name].work_on()


def test_a_snapshot_passes_few_modules() -> None:
    servers = {name: Server(name, 200 + 9000 * (name != "s1")) for name in PLACES}
    leader, follower = servers["s1"], servers["s2"]
    leader.now_ms = 1000
    leader.step(Tick())
    exchange(servers, "s1", "s3")
    assert leader.node.view.is_leader
    leader.step(Propose([f"set key{n} {n}" for n in range(9)]))
    exchange(servers, "s1", "s3")
    passed, before = Passed(), sys.getprofile()
    sys.setprofile(passed)
    try:
        leader.work.ask(compacts=True)
        leader.work_on()
        for _ in range(9):
            leader.now_ms = leader.node.wake_at_ms
            leader.step(Tick())
            exchange(servers, "s1", "s2")
    finally:
        sys.setprofile(before)
    assert leader.node.view.log.base_index > 0
    assert follower.manager.snapshots.current == leader.manager.snapshots.current
    assert follower.manager.store == leader.manager.store
    assert set(ASKED) <= passed.modules
    way = passed.modules - VALUES - ASKED.keys()
    assert len(way) <= FILES_MAX, sorted(way)
    assert {"node/snapshots/snapshots.py", "raft/snapshot.py", "storage/snapshot_lines.py"} <= way
