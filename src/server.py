"""A node: `python src/server.py s1 10000`. Arguments, files, threads, start and stop."""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import sys
import threading
from collections.abc import Sequence

from raftline import boot, config, lifeline
from raftline.announcer import Announcer
from raftline.bell import Bell
from raftline.config import PACES, ConfigError, Configuration, Pace
from raftline.console import Console, open_closed_streams
from raftline.control import Control
from raftline.cores import Cores
from raftline.courselines import CourseLines
from raftline.delivery import Origin
from raftline.doors import Doors, PortRefused
from raftline.driver import Driver, now_ms
from raftline.faults import Faults
from raftline.handover import hand_over_before_stopping
from raftline.interrupts import Interrupts, threads_without_signals
from raftline.joining import Joiner, advertised, check_member
from raftline.peerbook import PeerBook
from raftline.peers import Peer
from raftline.protocol import NO_LEADER, Limits, error, not_leader
from raftline.raft.chunks import InstallSnapshot
from raftline.raft.effects import Effects, Snapshot
from raftline.raft.messages import AppendEntries, Message, spell, spell_append, spell_entries
from raftline.reading import Readings
from raftline.snapshots import COMPACT_BYTES, Snapshots
from raftline.speakers import Speakers
from raftline.storage.errors import DiskFailed, StorageError
from raftline.udpdoor import UdpDoor
from raftline.waking import Waking, node_of

EXIT_USAGE = 2
EXIT_FILES = 3
EXIT_DISK = 4
EXIT_BROKEN = 70
STACK_BYTES = 512 << 10  # a thread per connection, thousands of them
if (3, 12) < sys.version_info < (3, 14):
    # Python counts calls of C there, and lets JSON of 10,000 brackets use 1.5 MiB before it stops.
    STACK_BYTES = 4 << 20  # of addresses; memory is only what a thread has used


class Server:
    """One node: the core and its driver, its peers, its doors, and what it prints."""

    def __init__(
        self,
        waking: Waking,
        pace: Pace,
        console: Console,
        *,
        readings: Readings,
        compact_bytes: int = COMPACT_BYTES,
        allowed: Sequence[str] | None = None,
        course_lines: bool = False,
    ) -> None:
        """Prepare a node; `allowed` says from where a controller may speak, None: nobody may."""
        self.name = waking.name
        self.limits = Limits()
        self.readings = readings
        self.pace = pace
        self._slowest_ms = pace.election_timeout_ms + pace.election_spread_ms
        self._patience_ms = 4 * self._slowest_ms + 5000
        self.patience_s = self._patience_ms / 1000
        self.announcer = Announcer(console)
        self._waking = waking
        self._compact_bytes = compact_bytes
        self._console = console
        self._spelled: tuple[object, str] = ((), "[]")
        self._end = Bell()  # rung to stop: a signal handler may do that
        self._stopping = False
        self.exit_status = 0
        self.is_down = False  # by its controller's word: it hears nobody else
        self.faults = Faults(self.name, say=console.say)
        self.control = Control(self, waking, console.say, allowed)
        self._prints_course_lines = course_lines

    def wake(self) -> None:
        """Begin a life with what the files say: make its rooms, which `start` lets work.

        Raises:
            StorageError: not from these files.
        """
        pace = self.pace
        logmanager, recovered = self._waking.recover()
        self.logmanager = logmanager
        self.speakers = Speakers(pace.election_timeout_ms, now_ms)
        self.node = node_of(
            self.name, recovered, pace,
            heartbeat_ms=self.faults.table.heartbeat_ms or pace.heartbeat_ms,
            leased=self.readings.mode == "lease", compact_bytes=self._compact_bytes,
        )  # fmt: skip
        self._course = CourseLines(self._console.say) if self._prints_course_lines else None
        self.driver = driver = Driver(self.node, logmanager, self, hold_ms=2 * self._slowest_ms)
        say = self._console.say
        self.book = PeerBook(
            self._waking.configuration.members,
            lambda peer, address: Peer(
                self.name, peer, address, self._answered, driver.lost, say
            ),
        )
        self.book.follow(self.node.state.contacts)
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
        self.doors.give_up_late(now - self._patience_ms)

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
        leader = self.node.state.leader
        if not why or leader == self.name:
            return error(why) if why else ""
        return self.not_leader(leader) if leader else NO_LEADER

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
        if self._course is not None:
            self._course.stepped(self.node.state, effects)

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

    def run(self, doors: Doors, datagrams: UdpDoor | None = None) -> int:
        """Serve until told to stop; return the exit status."""
        self.doors = doors
        self.start()
        with threads_without_signals():
            doors.open(self)
            if datagrams is not None:
                datagrams.open(self.name, self.control, lambda: self.node.state.term)
        self._end.wait()
        if self.exit_status == 0 and not self.is_down:
            hand_over_before_stopping(self.driver, self.pace.election_timeout_ms)
        self._console.end_traffic()
        self._console.say(f"[*] {self.name}: server is shutting down.")
        doors.close()
        if not self.is_down:
            self.halt(patience_s=2.0)
        doors.end_connections()
        if self.exit_status == 0:
            self._console.say(f"[*] {self.name}: has shut down cleanly.")
        return self.exit_status

    def start(self) -> None:
        """Let the threads of this life begin."""
        if self._course is not None:
            self._course.stepped(self.node.state, Effects())
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
        self._end.ring()

    def status(self) -> str:
        """Return the reply to `status`."""
        facts = {**self.driver.status(), "sessions": len(self.logmanager.sessions)}
        facts |= {"reads": self.readings.mode, "pid": os.getpid(), **self.control.facts()}
        return "STATUS response: " + json.dumps(facts)

    def _answered(self, answers: Sequence[Message]) -> None:
        for answer in answers:
            if not self.faults.cuts_off(answer.sender):
                self.announcer.received(answer.sender, None, answer)
        for complaint in self.hear(answers, None):
            self._console.say(f"[!] {self.name} does not take an answer: {complaint}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one node; return 0 after a clean stop, 2 for wrong arguments or a port in use, 3 for
    files it must not start from, 4 when its disk failed, 70 when an invariant broke."""
    open_closed_streams()
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
    except OSError as error:
        return _refuse(console, config.complaint(error), EXIT_FILES)
    except KeyboardInterrupt:  # before there was a node
        return 130
    finally:
        console.close()


def _refuse(console: Console, message: str, status: int) -> int:
    console.close()
    print(f"[!] {message}", file=sys.stderr)
    return status


def _boot(arguments: argparse.Namespace, console: Console) -> int:
    """Read the configuration, take the port, recover the files, and serve."""
    name = arguments.name
    port, configuration = boot.settle(arguments)
    console.say(str(configuration.path))
    with contextlib.ExitStack() as stack:
        start = stack.enter_context(contextlib.ExitStack())
        if configuration.added:
            start.callback(config.withdraw, configuration)
        doors = Doors(arguments.host, port, arguments.max_connections)
        stack.enter_context(contextlib.closing(doors))
        datagrams = boot.datagram_door(arguments)
        if datagrams is not None:
            stack.enter_context(contextlib.closing(datagrams))
        interrupts = stack.enter_context(contextlib.closing(Interrupts()))
        with threads_without_signals():
            lifeline.watch(interrupts.stop)
        server = _server_of(arguments, configuration, console)
        server.wake()
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
        start.pop_all()  # it is up: its line in the configuration stays
        return server.run(doors, datagrams)


def _server_of(
    arguments: argparse.Namespace, configuration: Configuration, console: Console
) -> Server:
    """Return the node that the arguments describe; it has no life yet."""
    waking = Waking(
        arguments.name, configuration, console.say, joins=bool(arguments.join),
        first_term=boot.CONTROLLER_FIRST_TERM if arguments.controller_lines else 0,
    )  # fmt: skip
    return Server(
        waking, PACES[arguments.pace], console,
        readings=Readings(arguments.reads, arguments.follower_reads),
        compact_bytes=arguments.compact_at,
        allowed=arguments.controller_from if arguments.controller else None,
        course_lines=arguments.controller_lines,
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
