"""The page of a write's way names the modules that one real write passes, in their order.

One write is followed through three nodes that listen, write files and speak to each other. A module
that runs meanwhile is on the page, or in one of two lists: features that a step asks, and what
declares, spells or keeps what is handed on. So a new module on the way changes the page, or a list.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from raftline.common.build_level import LEVEL
from raftline.net.protocol.host import Batch
from raftline.node.loop.stepper import Stepper
from raftline.node.program.node_server import Server
from raftline.node.snapshots.file_check import FileCheck
from raftline.node.snapshots.snapshot_threads import SnapshotThreads
from raftline.node.watches.watch_registry import WatchRegistry
from raftline_testing.doubles.cores import established
from raftline_testing.nodes.processes import eventually
from tests.lists.walks import WRITE, Place, place_of, profiled, rows, running_nodes
from tests.rim.test_applying import Slow

FILES_MAX = 24  # that a reader of the page opens
# Those that run at the leader between its queue and its replies; the others belong to a socket, a
# file or a follower.
LEADERS = {
    ("node/loop/rounds.py", "do_round"), ("node/loop/stepper.py", "serve"),
    ("node/loop/stepper.py", "_propose"),
    ("raft/node.py", "step"), ("raft/replication.py", "propose"), ("node/loop/stepper.py",
    "dispatch"),
    ("node/loop/writer.py", "_write_once"), ("logmanager.py", "write"),
    ("raft/node.py", "_synced"), ("raft/replication.py", "on_append_accepted"),
    ("raft/replication.py", "advance_commit"), ("raft/state.py", "hand_out_committed"),
    ("node/loop/applying.py", "take"), ("node/loop/applying.py", "go_on"),
    ("state/commands/replicated_state.py", "apply"),
    ("state/store.py", "write"), ("node/loop/queue.py", "answer_applied"),
    ("node/loop/rounds.py", "flush_replies"),
}  # fmt: skip
# Asked on the way, and not on it: what a lone write without any of these features gets of each.
ASKED = {
    "net/peers/level_exchange.py": "whether a peer is of another cluster, or names its build",
    "net/connections/shared_reader.py": "whether it reads for a crowd: there is none",
    "node/disk_room.py": "whether the disk has room for what a member sends: it has",
    "node/loop/quota.py": "whether keys, leases and disk have room for it: they have",
    "node/loop/batching.py": "whether the write waits for others: it is alone",
    "node/loop/handover.py": "whether a transfer has ended: nobody asked for one",
    "node/loop/lease_clock.py": "when a lease ends: there is none",
    "node/loop/granted_leases.py": "the same",
    "node/snapshots/snapshots.py": "whether a snapshot is due: the log is short",
    "node/watches/watch_feed.py": "whether anybody watches the key: nobody does",
    "node/watches/watch_registry.py": "the same",
    "node/loop/measures.py": "how long it took, for /metrics",
    "node/program/startup.py": "a chance for the next election: the leader was heard",
    "node/program/traffic_log.py": "what the console prints of it",
    "observe/step_lines.py": "the same",
    "common/process/console.py": "the same",
    "common/process/allocator.py": "once a second, whether memory is to be given back",
    "objects/embedded_server.py": "whether the leadership changed, for a program",
    "state/event_history.py": "the last changes, for watches that come again",
    "state/prefixes.py": "the keys of watches: there are none",
    "state/sessions.py": "the number of an entry, which `stat` shows; no session is meant",
    "state/work.py": "whether the entry takes long: it does not",
    "storage/hard_state.py": "the mark in NAME.storage, after the answer",
    "storage/folder.py": "the same",
}
# These declare, spell, count or keep what the others hand on; their names say what one gets.
VALUES = {
    "common/process/wakeup.py", "common/text.py", "net/protocol/host.py",
    "net/protocol/waits.py", "node/clock.py", "raft/effects.py",
    "raft/log.py", "raft/membership.py", "raft/progress.py", "wire/peer_lines.py",
    "raft/node_view.py",
    "state/commands/key_commands.py", "state/key_events.py", "storage/disk.py",
    "storage/log_lines.py",
    "wire/commands/operands.py", "wire/protocol.py",
}  # fmt: skip
# Time asks for something else in the meantime: a heartbeat, an answer that is late, a lost file.
DOORS = {
    one.__code__
    for one in (
        Stepper.pass_time, Server.give_up_late, WatchRegistry.look, FileCheck.look_after,
        FileCheck.look,
        SnapshotThreads._has_come,
    )
}  # fmt: skip


class Way:
    """Collects the modules in which any thread runs a function, while it `is_on`."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.is_on = False
        self._deep = threading.local()  # calls behind a door

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        within = getattr(self._deep, "calls", 0)
        if event == "return" and within:
            self._deep.calls = within - 1
        elif event == "call" and (within or frame.f_code in DOORS):
            self._deep.calls = within + 1
        elif event == "call" and self.is_on and (place := place_of(frame)):
            self.files.add(place[0])


@pytest.mark.pure
def test_one_write_passes_the_modules_that_the_page_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = Way()

    def all_hold(index: int) -> Callable[[], bool]:
        return lambda: all(view.applied >= index for view in views)

    with profiled(way, monkeypatch), running_nodes(tmp_path, 3) as nodes:
        servers = [node._server for node in nodes.values()]
        views = [server.node.view for server in servers]
        # A leader raises the level by itself, as soon as it knows all builds.
        eventually(lambda: all(server.level == LEVEL for server in servers), "the level")
        leader = next(view for view in views if view.is_leader)
        there = nodes[leader.name].address
        with socket.create_connection((there.host, there.port)) as client:
            replies = client.makefile("rb")
            client.sendall(b"client4@set b 1\n")
            assert replies.readline() == f"{leader.name}@SET response: b set to 1\n".encode()
            assert eventually(all_hold(leader.log.last_index))
            way.is_on = True
            client.sendall(b"client4@set b 5\n")
            assert replies.readline() == f"{leader.name}@SET response: b set to 5\n".encode()
            assert eventually(all_hold(leader.log.last_index))
            way.is_on = False
    named = {file for row in rows(WRITE) for file, _ in row}
    assert len(named) <= FILES_MAX
    assert sorted(way.files - named - set(ASKED) - VALUES) == []  # of the way, and not on the page
    assert sorted(named - way.files) == []  # on the page, and not of the way
    assert not named & (set(ASKED) | VALUES)


@pytest.mark.pure
def test_what_the_page_names_of_the_leader_runs_in_its_order() -> None:
    leader = Slow(established("s1"))
    ran: list[Place] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and (place := place_of(frame)):
            ran.append(place)

    batch = Batch(["set b 1"], is_read=False)
    sys.setprofile(note)
    try:
        leader.driver.submit(batch)
        leader.acknowledge()
    finally:
        sys.setprofile(None)
    assert batch.replies == ["SET response: b set to 1"]
    of_the_leader = [place for row in rows(WRITE) for place in row if place in LEADERS]
    assert len(of_the_leader) == len(LEADERS)
    at = 0  # a function may run more often, so the next time after the one before is looked for
    for place in of_the_leader:
        at = ran.index(place, at)
