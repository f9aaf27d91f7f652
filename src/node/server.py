"""The parts of a node, and how they start and stop together."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from raftline.common.config import Pace
from raftline.common.console import Console
from raftline.common.signals import threads_without_signals
from raftline.common.wakeup import Wakeup
from raftline.controller.control import Control
from raftline.controller.course_lines import CourseLines
from raftline.controller.faults import Faults
from raftline.controller.udp import UdpListener
from raftline.net.listener import Listener
from raftline.net.peerbook import PeerBook
from raftline.net.peers import Peer
from raftline.net.speakers import Speakers
from raftline.node.clock import now_ms
from raftline.node.driver import Driver
from raftline.node.queue import Readings
from raftline.node.snapshots import COMPACT_BYTES, Snapshots
from raftline.node.startup import Startup, node_of
from raftline.node.traffic_log import TrafficLog
from raftline.node.writer import Origin
from raftline.raft.chunks import InstallSnapshot
from raftline.raft.effects import Effects, Snapshot
from raftline.raft.entrylines import spell_entries
from raftline.raft.messages import AppendEntries, Message, spell, spell_append
from raftline.storage.errors import EXIT_DISK, DiskFailed, StorageError
from raftline.wire.protocol import NO_LEADER, Limits, error, not_leader

EXIT_BROKEN = 70


class Server:
    """One node: the core and its driver, its peers, its listener, and what it prints."""

    def __init__(
        self,
        startup: Startup,
        pace: Pace,
        console: Console,
        *,
        readings: Readings,
        compact_bytes: int = COMPACT_BYTES,
        allowed: Sequence[str] | None = None,
        course_lines: bool = False,
        course_console: bool = False,
    ) -> None:
        """Prepare a node; `allowed` says from where a controller may speak, None: nobody may."""
        self.name = startup.name
        self.limits = Limits()
        self.readings = readings
        self.pace = pace
        self._slowest_ms = pace.election_timeout_ms + pace.election_spread_ms
        self._patience_ms = 4 * self._slowest_ms + 5000
        self.patience_s = self._patience_ms / 1000
        self.traffic_log = TrafficLog(console, course=course_console)
        self._startup = startup
        self._compact_bytes = compact_bytes
        self._console = console
        self._spelled: tuple[object, str] = ((), "[]")
        self._end = Wakeup()  # set to stop: a signal handler may do that
        self._stopping = False
        self.exit_status = 0
        self.is_down = False  # by its controller's word: it hears nobody else
        self.faults = Faults(self.name, say=console.say)
        self.control = Control(self, startup, console.say, allowed)
        self._prints_course_lines = course_lines

    def recover(self) -> None:
        """Recover from the files: make the parts of the node, which `start` lets work.

        Raises:
            StorageError: not from these files.
        """
        pace = self.pace
        logmanager, recovered = self._startup.recover()
        self.logmanager = logmanager
        self.speakers = Speakers(pace.election_timeout_ms, now_ms)
        self.node = node_of(
            self.name, recovered, pace,
            heartbeat_ms=self.faults.table.heartbeat_ms or pace.heartbeat_ms,
            leased=self.readings.mode == "lease", compact_bytes=self._compact_bytes,
        )  # fmt: skip
        lease_ms = recovered.hard_state.lease_ms
        if lease_ms > pace.election_timeout_ms:
            self._console.say(
                f"[*] {self.name} may have promised its vote to a leader for {lease_ms / 1000:g} s "
                "at another pace (--reads lease): until they are over it stands for no election"
            )
        self._course = CourseLines(self._console.say) if self._prints_course_lines else None
        self.driver = driver = Driver(self.node, logmanager, self, hold_ms=2 * self._slowest_ms)
        say = self._console.say
        self.book = PeerBook(
            self._startup.configuration.members,
            lambda peer, address: Peer(
                self.name, peer, address, self._answered, driver.lost, say
            ),
        )
        self.book.follow(self.node.view.contacts)
        self.snapshots = Snapshots(driver, logmanager, self._post, say, self._compact_bytes)

    # --- what the driver asks of the world (driver.Rim) ------------------------------------

    def send(self, message: Message) -> None:
        """Send a message to its peer; entries that several peers get are spelled once."""
        if isinstance(message, InstallSnapshot):
            self.snapshots.send(message)
            return
        if isinstance(message, AppendEntries):
            if message.entries is not self._spelled[0]:
                self._spelled = (message.entries, spell_entries(message.entries))
            text = spell_append(message, self._spelled[1])
        else:
            text = spell(message)
        self._send(message, f"{self.name}@{text}\n".encode())

    def _post(self, message: InstallSnapshot) -> None:
        self._send(message, f"{self.name}@{spell(message)}\n".encode())

    def _send(self, message: Message, line: bytes) -> None:
        if self.faults.in_force:
            book = self.book
            self.faults.send(message, lambda: book.send(message.to, line), len(line))
        else:
            self.book.send(message.to, line)

    def hear(self, received: Sequence[Message], origin: Origin | None) -> list[str]:
        """Step what peers say, as far as this node hears it; return a complaint for each message
        that was refused."""
        if self.is_down:
            return []
        if self.faults.in_force:
            received = [one for one in received if not self.faults.cuts_off(one.sender)]
            origin = self.faults.around(origin)
        return self.driver.receive(received, origin)

    def wrote(self, arrived: Snapshot | None) -> None:
        """Look whether a snapshot is due, or has arrived whole."""
        self.snapshots.wrote(arrived)

    def give_up_late(self, now: int) -> None:
        """Answer requests that nobody could answer in time; with the driver's `core` held."""
        self.listener.give_up_late(now - self._patience_ms)

    def not_leader(self, leader: str) -> str:
        """Return the reply that sends a client on to `leader`."""
        address = self.book.address(leader)
        if address is None:  # no entry said yet where it is
            return NO_LEADER
        return not_leader(leader, address.host, address.port)

    def without_machine(self, command: str) -> str:
        """Return the reply to a command for a state machine that this node lacks, "" where it has
        it. Another leader may have it; here the command must never become an entry."""
        why = self.logmanager.machines.why_not(command.split(" ", 2)[1])
        leader = self.node.view.leader
        if not why or leader == self.name:
            return error(why) if why else ""
        return self.not_leader(leader) if leader else NO_LEADER

    def is_peer(self, name: str) -> bool:
        """Whether `name` is a member that this node talks to, or leads it."""
        return name in self.book or name == self.node.view.leader != self.name

    def why_no_peer(self, name: str) -> str:
        """Return why nothing is taken from `name`, which is no peer."""
        removed_by = self.node.view.configurations.removed_by(name)
        if removed_by:
            return f"{name} was removed from the cluster by entry {removed_by}"
        if self.node.view.newborn:  # which takes nobody's word but a member's (raft/newborn.py)
            return (
                f"{name} is no peer of {self.name}, which never ran before (if the members have "
                f"changed, start it with --join HOST:PORT)"
            )
        return f"{name} is no peer of {self.name}"

    def report(self, effects: Effects) -> None:
        """Say on the console what a step did; make connections of new members, end those of old
        ones."""
        if effects.members_changed:
            self.book.follow(self.node.view.contacts)
        self.traffic_log.carried_out(effects, self.node.view)
        if self._course is not None:
            self._course.stepped(self.node.view, effects)

    def fail(self, error: BaseException) -> None:
        """Stop because nothing that this node writes or holds can be trusted any more."""
        if self._stopping:
            return
        self.exit_status = EXIT_DISK if isinstance(error, DiskFailed) else EXIT_BROKEN
        kind = "" if isinstance(error, StorageError) else f"{type(error).__name__}: "
        self._console.say(f"[!] {self.name} stops: {kind}{error}")
        if os.environ.get("RAFTLINE_DEBUG"):
            sys.excepthook(type(error), error, error.__traceback__)
        self.stop()

    def warn(self, what: str) -> None:
        """Say that something did not work, and that the node goes on."""
        self._console.say(f"[!] {self.name}: {what}")

    # --- life ------------------------------------------------------------------------------

    def begin(self, listener: Listener, datagrams: UdpListener | None = None) -> None:
        """Serve from now on."""
        self.listener = listener
        self.start()
        with threads_without_signals():
            listener.open(self)
            if datagrams is not None:
                ignored = self.traffic_log.ignored
                datagrams.open(self.name, self.control, lambda: self.node.view.term, ignored)

    def wait(self) -> int:
        """Serve until told to stop; then stop, and return the exit status."""
        self._end.wait()
        if self.exit_status == 0 and not self.is_down:
            self.driver.hand_over(self.pace.election_timeout_ms)
        self._console.end_traffic()
        self._console.say(f"[*] {self.name}: server is shutting down.")
        self.listener.close()
        if not self.is_down:
            self.halt(patience_s=2.0)
        self.listener.end_connections()
        if self.exit_status == 0:
            self._console.say(f"[*] {self.name}: has shut down cleanly.")
        return self.exit_status

    def start(self) -> None:
        """Let the threads of this life begin."""
        if self._course is not None:
            self._course.stepped(self.node.view, Effects())
        with threads_without_signals():
            self.book.start()  # before anything can change whom it follows
            self.driver.start(self.name)
            self.snapshots.start()

    def halt(self, patience_s: float) -> None:
        """End this life: its threads, its connections to peers, its hold on the files."""
        self.snapshots.stop()
        self.driver.stop(patience_s)
        self.book.stop()

    def stop(self) -> None:
        """Ask the node to stop; from any thread, also a signal handler."""
        self._stopping = True
        self._end.set()

    def status(self) -> str:
        """Return the reply to `status`."""
        facts = {**self.driver.status(), "sessions": len(self.logmanager.sessions)}
        facts |= {"reads": self.readings.mode, "pid": os.getpid(), **self.control.facts()}
        return "STATUS response: " + json.dumps(facts)

    def _answered(self, answers: Sequence[Message]) -> None:
        for answer in answers:
            if not self.faults.cuts_off(answer.sender):
                self.traffic_log.received(answer.sender, None, answer)
        for complaint in self.hear(answers, None):
            self._console.say(f"[!] {self.name} does not take an answer: {complaint}")
