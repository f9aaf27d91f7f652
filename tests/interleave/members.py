"""Members of a cluster in one schedule: driver, writer, peers and connections of each, on wires.

The parts are real, except for the console, snapshots and the kernel. A dialled address leads to the
member that listens there. Its disk is in memory, and records which bytes are synced.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

from raftline.common.address import Address
from raftline.common.config import Pace
from raftline.logmanager import LogManager
from raftline.net.connections import connection as connections
from raftline.net.connections.connection import Connection
from raftline.net.peers import peers
from raftline.net.peers.build_exchange import Builds
from raftline.net.peers.peers import Peer, PeerBook, Speakers
from raftline.net.protocol.host import Batch
from raftline.node.disk_room import DiskRoom, DiskSpace
from raftline.node.loop.driver import Driver
from raftline.node.program.node_server import Server
from raftline.raft.effects import Effects
from raftline.raft.membership import Membership
from raftline.raft.messages import AppendEntries, InstallSnapshot, Message
from raftline.raft.node import node_from_disk
from raftline.raft.state import Options
from raftline.wire.commands.parsing import ReadSettings
from raftline.wire.peer_lines import format_append, format_entries, format_message
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.interleave.threads import Broken, Thread
from raftline_testing.interleave.wires import Wire, connected

ELECTION_MS, HEARTBEAT_MS = 10_000_000, 500  # no node stands a second time
PACE = Pace("slow", ELECTION_MS, 1, HEARTBEAT_MS)
IDENTITY = "9f86d081884c7d65"
FIRST_ELECTIONS_MS = {"s1": 10}  # s1 stands first; the others wait for a long time
ROOM = 300  # bytes in flight: further ones wait at the sender


class Network:
    """The members that listen, by address, and the connections that were made."""

    def __init__(self) -> None:
        self.listening: dict[str, Member] = {}
        self.wires: list[Wire] = []
        self.is_disturbed = False  # a connection was broken

    def connect(self, address: Address, patience_s: float) -> Wire:
        Thread.schedule.step()
        member = self.listening.get(str(address))
        if member is None:
            raise ConnectionRefusedError(111, "Connection refused")
        near, far = connected(ROOM)
        self.wires.append(near)
        there: Any = far
        connection = Connection(member, there, for_peers_only=False)
        name = f"{member.name} connection {near.fileno()}"
        threading.Thread(target=connection.serve, name=name).start()
        return near

    def break_one(self) -> None:
        """Break one of the connections, if there are any."""
        chance, self.is_disturbed = Thread.schedule.random, True
        if self.wires:
            with contextlib.suppress(OSError):  # it is closed
                self.wires.pop(chance.randrange(len(self.wires))).shutdown(socket.SHUT_RDWR)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Replace the kernel's network by it."""
        with (
            mock.patch.object(peers, "connect", self.connect),
            mock.patch.object(peers, "random", Thread.schedule.random),
            mock.patch.object(connections, "asks_only_status", return_value=True),
        ):
            yield


class Member(Server):
    """One member."""

    def __init__(
        self,
        network: Network,
        name: str,
        members: Mapping[str, str],
        builds: type[Builds] = Builds,
        peer: type[Peer] = Peer,
    ) -> None:
        self.said: list[str] = []
        console: Any = SimpleNamespace(say=self.said.append)
        startup: Any = SimpleNamespace(name=name, is_private=False, is_at_floor=False)
        super().__init__(startup, PACE, console, readings=ReadSettings())
        quiet: Any = SimpleNamespace(
            connected=lambda _: None,
            requested=lambda *_: None,
            shows_requests=lambda _: False,
            received=lambda *_: None,
        )
        self.traffic_log = quiet
        self.folder = MemoryFolder()
        self.logmanager = LogManager(name, self.folder, members)
        self.disk_room = DiskRoom(self.logmanager, lambda: 0, DiskSpace())
        recovered = self.logmanager.recover()
        first_ms = FIRST_ELECTIONS_MS.get(name, ELECTION_MS)
        self.node = node_from_disk(
            name,
            Membership(tuple(members), addresses=members),
            recovered.log,
            recovered.hard_state,
            Options(ELECTION_MS, HEARTBEAT_MS, cluster_if_new=IDENTITY),
            lambda: first_ms,
            self.clock.now_ms(),
            incarnation=len(name),
        )
        self.driver = Driver(self.node, self.logmanager, self, hold_ms=ELECTION_MS)
        self.transfer, self.peer_disconnected = self.driver.transfer, self.driver.peer_disconnected
        self.watchers = self.driver.watchers
        self.builds = builds(self.driver.peer_build)
        self.speakers = Speakers(ELECTION_MS / 1000, self.clock.now_s)
        self._kind = peer
        self.book = PeerBook({}, self._peer)
        self.book.follow(self.node.view.contacts)
        network.listening[members[name]] = self

    def start(self) -> None:
        self.book.start()
        self.driver.start(self.name)

    def _peer(self, name: str, address: Address) -> Peer:
        return self._kind(
            self.name,
            name,
            address,
            lambda answers: self.said.extend(self.hear(answers, None)),
            self.driver.peer_disconnected,
            self._say,
            self.builds.record,
        )

    def _say(self, line: str) -> None:
        if "can't be talked to" in line:  # a thread met an error, and continued
            raise Broken(line)
        self.said.append(line)

    def has_durable(self, command: str) -> bool:
        """Whether an entry with this command is certainly on the disk."""
        log = self.folder._files[f"{self.name}.log"]
        return command.encode() in log.data[: log.synced]

    # --- for the driver -------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        assert not isinstance(message, InstallSnapshot)
        text = format_message(message)
        if isinstance(message, AppendEntries):
            text = format_append(message, format_entries(message.entries))
        self.book.send(message.to, f"{self.name}@{text}\n".encode())

    def report(self, effects: Effects) -> None:
        if effects.members_changed:
            self.book.follow(self.node.view.contacts)

    def wrote(self, arrived: object) -> None:
        pass

    def give_up_late(self, now: int) -> None:
        pass

    def fail(self, error: BaseException) -> None:
        raise Broken(f"{self.name} stops: {error!r}") from error


class Asking:
    """The connection of a client, as the driver sees it: one request."""

    user: str | None = None

    def __init__(self, driver: Driver, command: str, check: Any = None, **more: Any) -> None:
        """Create a request; `check` is called with each reply at the moment when it may leave."""
        self._driver, self._check = driver, check
        self.answers = 0
        self.begun_s = time.monotonic()
        self._left = threading.Event()
        self._batch = Batch([command], reply_sink=self, **more)
        driver.submit(self._batch)

    def wait(self) -> str:
        """Return the reply."""
        self._left.wait()
        assert self.answers == 1, f"{self._batch.commands} was answered {self.answers} times"
        if self._batch.reader is not None and not self._batch.replies:
            self._batch.replies = self._batch.reader.read(self._batch.commands)
        [reply] = self._batch.replies
        return reply

    def mark_ready(self) -> None:
        self.answers += 1
        if self._check is not None and self._batch.replies:
            self._check(self._batch.replies[0])
        self._driver.ready_sinks.append(self)

    def flush(self) -> None:
        self._left.set()

    def break_off(self) -> None:
        raise AssertionError("a connection was ended")

    def keep(self, batch: Batch, replies: list[str]) -> list[str]:
        return replies


def wait_for_a_leader(*members: Member) -> Member:
    """Return the leader, once there is one."""
    while True:
        for member in members:
            view = member.node.view
            if view.is_leader and view.applied and view.log.term_at(view.applied) == view.term:
                return member
        time.sleep(0.01)
