"""The parts of a node, and how they start and stop together."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from raftline.access.login import Access
from raftline.access.secret import NO_AUTH, PeerAuth
from raftline.access.tls import Tls
from raftline.common.address import Address
from raftline.common.config import Pace
from raftline.common.console import Console
from raftline.common.signals import WAIT_S_MAX, threads_without_signals
from raftline.common.wakeup import Wakeup
from raftline.net.levels import Builds
from raftline.net.listener import Listener
from raftline.net.peerbook import PeerBook, Speakers
from raftline.net.peers import Peer
from raftline.node.driver import Driver
from raftline.node.host import NodeHost
from raftline.node.observers import Observers
from raftline.node.recorder import FileRecorder
from raftline.node.snapshots import COMPACT_BYTES, Snapshots
from raftline.node.startup import Startup, node_of
from raftline.node.traffic_log import TrafficLog
from raftline.raft.effects import Effects
from raftline.raft.entries import Snapshot, spell_entries
from raftline.raft.levels import LevelTooHigh
from raftline.raft.messages import AppendEntries, InstallSnapshot, Message
from raftline.raft.recording import RecordedNode
from raftline.raft.spelling import spell, spell_append
from raftline.state.history import BYTES_MAX, EVENTS_MAX
from raftline.storage.disk import EXIT_FILES, StorageError, exit_status_of
from raftline.wire.parsing import Readings

EXIT_BROKEN = 70


class Server(NodeHost):
    """One node: the core and its driver, its peers, its listener, and what it prints."""

    def __init__(
        self,
        startup: Startup,
        pace: Pace,
        console: Console,
        *,
        readings: Readings,
        compact_bytes: int = COMPACT_BYTES,
        history: tuple[int, int] = (EVENTS_MAX, BYTES_MAX),
        course_console: bool = False,
        record: Path | None = None,
        access: Access | None = None,
        peer_auth: PeerAuth = NO_AUTH,
        tls: Tls | None = None,
    ) -> None:
        """Prepare a node; `record` is where its steps are written down, `history` how many
        events are kept, and bytes; `access` the users of this node, if it has any; `peer_auth`
        what members have to prove; `tls` how it speaks TLS, None: it does not."""
        super().__init__(startup.name, pace, readings, access, peer_auth, tls)
        self.traffic_log = TrafficLog(
            console,
            course=course_console,
            is_cut_off=self.is_cut_off,
            is_private=startup.is_private,
        )
        self.observers = Observers(self.name, console.say, self.clock)
        self._startup = startup
        self._compact_bytes = compact_bytes
        self._history = history
        self._record = record
        self._console = console
        self._spelled: tuple[object, str] = ((), "[]")
        self._end = Wakeup()  # set to stop: a signal handler may do that
        self.exit_status = 0

    def recover(self) -> None:
        """Recover from the files: make the parts of the node, which `start` lets work.

        Raises:
            StorageError: not from these files.
        """
        pace = self.pace
        logmanager, recovered = self._startup.recover()
        self.logmanager = logmanager
        self.speakers = Speakers(pace.election_timeout_ms, self.clock.now_ms)
        self.node = node_of(
            self.name,
            recovered,
            pace,
            self.clock,
            heartbeat_ms=self.heartbeat_ms(),
            leased=self.readings.mode == "lease",
            compact_bytes=self._compact_bytes,
        )
        if self._record is not None:
            self.node = RecordedNode(self.node, FileRecorder(self._record, self._console.say))
        self._print_lease(recovered.hard_state.lease_ms)
        self.driver = driver = Driver(
            self.node, logmanager, self, hold_ms=2 * self.slowest_ms, clock=self.clock
        )
        self.builds = Builds(driver.peer_level)
        self.observers.follow(self.node, driver.core)
        driver.watchers.history.bound(*self._history)
        self.book = PeerBook(self._startup.configuration.members, self._peer)
        self.book.follow(self.node.view.contacts)
        self.snapshots = Snapshots(
            driver, logmanager, self._post, self._console.say, self._compact_bytes
        )

    def _print_lease(self, lease_ms: int) -> None:
        """Report a promise of this node, of an earlier life, that outlasts its election timeout."""
        if lease_ms > self.pace.election_timeout_ms:
            self._console.say(
                f"[*] {self.name} may have promised its vote to a leader for {lease_ms / 1000:g} s "
                "at another pace (--reads lease): until they are over it stands for no election"
            )

    def _peer(self, peer: str, address: Address) -> Peer:
        """Return a connection, not begun yet, to a member."""
        return Peer(
            self.name,
            peer,
            address,
            self._answered,
            self.driver.peer_disconnected,
            self._console.say,
            self.builds.record,
            self.peer_auth,
            self.tls,
        )

    # --- what the driver asks of the world (stepper.NodeRim) ------------------------------------

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
        self.book.send(message.to, line)

    def wrote(self, arrived: Snapshot | None) -> None:
        """Look whether a snapshot is due, or has arrived whole."""
        self.snapshots.wrote(arrived)

    def give_up_late(self, now: int) -> None:
        """Refuse requests that waited too long; with the driver's `core` held."""
        self.listener.give_up_late(now - self.patience_ms)

    def report(self, effects: Effects) -> None:
        """Print on the console what a step did; make connections of new members, end those of old
        ones."""
        if effects.members_changed:
            self.book.follow(self.node.view.contacts)
        if effects.notes:
            self.driver.measures.stepped(self.node.view)
        self.traffic_log.carried_out(effects, self.node.view)

    def fail(self, error: BaseException) -> None:
        """Stop because nothing that this node writes or holds can be trusted any more."""
        if self._stopping:
            return
        otherwise = EXIT_FILES if isinstance(error, LevelTooHigh) else EXIT_BROKEN
        self.exit_status = exit_status_of(error, otherwise)
        is_plain = isinstance(error, StorageError | LevelTooHigh)
        kind = "" if is_plain else f"{type(error).__name__}: "
        self._console.say(f"[!] {self.name} stops: {kind}{error}")
        if os.environ.get("RAFTLINE_DEBUG"):
            sys.excepthook(type(error), error, error.__traceback__)
        self.stop()

    def warn(self, what: str) -> None:
        """Report that something did not work, and that the node goes on."""
        self._console.say(f"[!] {self.name}: {what}")

    # --- life ------------------------------------------------------------------------------

    def begin(self, listener: Listener) -> None:
        """Serve from now on."""
        self.listener = listener
        self.start()
        with threads_without_signals():
            listener.open(self)

    def wait(self) -> int:
        """Serve until asked to stop; then stop, and return the exit status."""
        while not self._end.wait(WAIT_S_MAX):
            pass  # a signal that did not interrupt the wait is handled now
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
        with threads_without_signals():
            self.book.start()  # before anything can change whom it follows
            self.driver.start(self.name)
            self.snapshots.start()

    def halt(self, patience_s: float) -> None:
        """End this life: its threads, its connections to peers, its hold on the files."""
        self.snapshots.stop()
        self.driver.stop(patience_s)
        self.book.stop()

    def heartbeat_ms(self) -> int:
        """Return the time between two heartbeats that this life begins with."""
        return self.pace.heartbeat_ms

    def is_cut_off(self, peer: str) -> bool:
        """Whether nothing is printed of what `peer` sends, as it is not heard."""
        return False

    def stop(self) -> None:
        """Ask the node to stop; from any thread, also a signal handler."""
        self._stopping = True
        self._end.set()

    def _answered(self, answers: Sequence[Message]) -> None:
        for answer in answers:
            self.traffic_log.received(answer.sender, None, answer)
        for complaint in self.hear(answers, None):
            self._console.say(f"[!] {self.name} does not take an answer: {complaint}")
