"""A node: `python src/server.py s1 10000`. Arguments, files, threads, start and stop."""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import random
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

from raftline import boot, lifeline
from raftline.announcer import Announcer
from raftline.bell import Bell
from raftline.config import PACES, Address, ConfigError, Pace
from raftline.console import Console
from raftline.cores import Cores
from raftline.doors import Doors, PortRefused
from raftline.driver import Driver, now_ms
from raftline.handover import hand_over_before_stopping
from raftline.interrupts import Interrupts, threads_without_signals
from raftline.joining import Joiner, advertised, check_member
from raftline.logmanager import LogManager, Recovered
from raftline.peerbook import PeerBook
from raftline.peers import Peer
from raftline.protocol import NO_LEADER, Limits, not_leader
from raftline.raft.chunks import InstallSnapshot
from raftline.raft.effects import Effects, Snapshot
from raftline.raft.membership import Membership
from raftline.raft.messages import AppendEntries, Message, spell, spell_append, spell_entries
from raftline.raft.node import Node
from raftline.raft.state import Options
from raftline.reading import Readings
from raftline.snapshots import COMPACT_BYTES, Snapshots
from raftline.speakers import Speakers
from raftline.storage.errors import DiskFailed, StorageError
from raftline.storage.folder import Folder

EXIT_USAGE = 2
EXIT_FILES = 3
EXIT_DISK = 4
EXIT_BROKEN = 70
TRAILING_BYTES = 4 << 20  # of entries kept in memory behind a snapshot
STACK_BYTES = 512 << 10  # a thread per connection, thousands of them


class Server:
    """One node: the core and its driver, its peers, its doors, and what it prints."""

    def __init__(
        self,
        name: str,
        recovered: Recovered,
        logmanager: LogManager,
        here: Mapping[str, Address],
        pace: Pace,
        console: Console,
        *,
        readings: Readings,
        compact_bytes: int = COMPACT_BYTES,
    ) -> None:
        self.name = name
        self.logmanager = logmanager
        self.limits = Limits()
        self.readings = readings
        self._election_timeout_ms = pace.election_timeout_ms
        slowest_ms = pace.election_timeout_ms + pace.election_spread_ms
        self._patience_ms = 4 * slowest_ms + 5000
        self.patience_s = self._patience_ms / 1000
        self._doors: Doors | None = None
        self.speakers = Speakers(pace.election_timeout_ms, now_ms)
        self.announcer = Announcer(console)
        self._console = console
        self._spelled: tuple[object, str] = ((), "[]")
        self._end = Bell()  # rung to stop: a signal handler may do that
        self._stopping = False
        self.exit_status = 0
        options = Options(
            pace.election_timeout_ms,
            pace.heartbeat_ms,
            lease=readings.mode == "lease",
            trailing_bytes=min(TRAILING_BYTES, compact_bytes // 2),
        )
        self.node = _node_of(name, recovered, options, _picker(pace))
        self.driver = Driver(self.node, logmanager, self, hold_ms=2 * slowest_ms)
        self.book = PeerBook(
            here,
            lambda peer, address: Peer(
                name, peer, address, self._answered, self.driver.lost, console.say
            ),
        )
        self.book.follow(self.node.state.contacts)
        self.snapshots = Snapshots(
            self.driver, logmanager, self._post, console.say, compact_bytes
        )

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
        self.book.send(message.to, f"{self.name}@{text}\n".encode())

    def _post(self, message: InstallSnapshot) -> None:
        self.book.send(message.to, f"{self.name}@{spell(message)}\n".encode())

    def wrote(self, arrived: Snapshot | None) -> None:
        """Look whether a snapshot is due, or has arrived whole."""
        self.snapshots.wrote(arrived)

    def give_up_late(self, now: int) -> None:
        """Answer requests that nobody could answer in time; with the driver's `core` held."""
        if self._doors is not None:
            self._doors.give_up_late(now - self._patience_ms)

    def not_leader(self, leader: str) -> str:
        """Return the reply that sends a client on to `leader`."""
        address = self.book.address(leader)
        if address is None:  # no entry said yet where it is
            return NO_LEADER
        return not_leader(leader, address.host, address.port)

    def is_peer(self, name: str) -> bool:
        """Whether `name` is a member that this node talks to, or leads it."""
        return name in self.book or name == self.node.state.leader != self.name

    def why_no_peer(self, name: str) -> str:
        """Return why nothing is taken from `name`, which is no peer."""
        removed_by = self.node.state.configurations.removed_by(name)
        if removed_by:
            return f"{name} was removed from the cluster by entry {removed_by}"
        return f"{name} is no peer of {self.name}"

    def report(self, effects: Effects) -> None:
        """Say on the console what a step did; make connections of new members, end those of old
        ones."""
        if effects.members_changed:
            self.book.follow(self.node.state.contacts)
        self.announcer.carried_out(effects)

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

    def run(self, doors: Doors) -> int:
        """Serve until told to stop; return the exit status."""
        self._doors = doors
        with threads_without_signals():
            self.book.start()  # before anything can change whom it follows
            self.driver.start(self.name)
            self.snapshots.start()
            doors.open(self)
        self._end.wait()
        if self.exit_status == 0:
            hand_over_before_stopping(self.driver, self._election_timeout_ms)
        self._console.end_traffic()
        self._console.say(f"[*] {self.name}: server is shutting down.")
        doors.close()
        self.snapshots.stop()
        self.driver.stop(patience_s=2.0)
        self.book.stop()
        doors.end_connections()
        if self.exit_status == 0:
            self._console.say(f"[*] {self.name}: has shut down cleanly.")
        return self.exit_status

    def stop(self) -> None:
        """Ask the node to stop; from any thread, also a signal handler."""
        self._stopping = True
        self._end.ring()

    def status(self) -> str:
        """Return the reply to `status`."""
        facts = {**self.driver.status(), "reads": self.readings.mode, "pid": os.getpid()}
        return "STATUS response: " + json.dumps(facts)

    def _answered(self, answers: Sequence[Message]) -> None:
        for answer in answers:
            self.announcer.received(answer.sender, None, answer)
        for complaint in self.driver.receive(answers, None):
            self._console.say(f"[!] {self.name} does not take an answer: {complaint}")


def _node_of(
    name: str, recovered: Recovered, options: Options, pick_timeout_ms: Callable[[], int]
) -> Node:
    """Return the core as its files say that it was."""
    return Node(
        name,
        Membership(tuple(recovered.members), addresses=recovered.members),
        recovered.log,
        recovered.hard_state,
        options,
        pick_timeout_ms,
        now_ms(),
        amnesiac=recovered.amnesiac,
        snapshot=recovered.snapshot,
    )


def _picker(pace: Pace) -> Callable[[], int]:
    """Return the source of election timeouts: chance, which the core has none of its own."""
    chance = random.Random()  # seeded by the kernel; asked at every heartbeat
    return lambda: pace.election_timeout_ms + chance.randrange(pace.election_spread_ms)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one node; return 0 after a clean stop, 2 for wrong arguments or a port in use, 3 for
    files it must not start from, 4 when its disk failed, 70 when an invariant broke."""
    arguments = boot.parse(argv)
    threading.stack_size(STACK_BYTES)
    with threads_without_signals():
        console = Console(sys.stdout, arguments.verbose)
    try:
        return _boot(arguments, console)
    except (ConfigError, PortRefused) as error:
        return _refuse(console, str(error), EXIT_USAGE)
    except DiskFailed as error:
        return _refuse(console, str(error), EXIT_DISK)
    except StorageError as error:
        return _refuse(console, str(error), EXIT_FILES)
    finally:
        console.close()


def _refuse(console: Console, message: str, status: int) -> int:
    console.close()
    print(f"[!] {message}", file=sys.stderr)
    return status


def _boot(arguments: argparse.Namespace, console: Console) -> int:
    """Read the configuration, take the port, recover the files, and serve."""
    name, pace = arguments.name, PACES[arguments.pace]
    port, configuration = boot.settle(arguments)
    console.say(str(configuration.path))
    doors = Doors(arguments.host, port, arguments.max_connections)
    with contextlib.closing(doors), contextlib.closing(Interrupts()) as interrupts:
        with threads_without_signals():
            lifeline.watch(interrupts.stop)
        logmanager = LogManager(
            name,
            Folder(configuration.folder),
            {} if arguments.join else {n: str(a) for n, a in configuration.members.items()},
        )
        recovered = logmanager.recover()
        for note in recovered.notes:
            console.say(note)
        server = Server(
            name, recovered, logmanager, configuration.members, pace, console,
            readings=Readings(arguments.reads, arguments.follower_reads),
            compact_bytes=arguments.compact_at,
        )  # fmt: skip
        state = server.node.state
        for note in (
            *check_member(state, configuration),
            *boot.port_notes(name, port, configuration, state.membership.addresses),
        ):
            console.say(note)
        gc.collect()
        gc.freeze()  # what was recovered stays: no collection needs to look at it again
        interrupts.stop_with(server.stop)
        timeout_s = (state.election_at_ms - state.now_ms) / 1000
        where = (arguments.host, port)
        console.say(f"[*] Server started on {where} with timeout {timeout_s:.1f} seconds")
        if arguments.join:
            mine = advertised(name, arguments.host, port, configuration)
            with threads_without_signals():
                Joiner(name, mine, arguments.join, server.node, console.say).start()
        if arguments.cores == "one":
            with threads_without_signals():
                Cores().start(name)
        return server.run(doors)


if __name__ == "__main__":
    raise SystemExit(main())
