"""A node: `python src/server.py s1 10000`. Arguments, files, threads, start and stop."""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from raftline import config, lifeline
from raftline.announcer import Announcer
from raftline.config import PACES, Address, ConfigError, Configuration, Pace
from raftline.console import Console
from raftline.doors import Doors, PortRefused
from raftline.driver import Driver, now_ms
from raftline.handover import hand_over_before_stopping
from raftline.logmanager import LogManager, Recovered
from raftline.peers import Peer
from raftline.protocol import READ_MODES, Limits, not_leader
from raftline.raft.chunks import InstallSnapshot
from raftline.raft.effects import Effects, Snapshot
from raftline.raft.messages import AppendEntries, Message, spell, spell_append, spell_entries
from raftline.raft.node import Node
from raftline.raft.state import Options
from raftline.reading import Readings
from raftline.snapshots import COMPACT_BYTES, Snapshots
from raftline.speakers import Speakers
from raftline.storage.errors import DiskFailed, FilesRefused, StorageError
from raftline.storage.folder import Folder

EXIT_USAGE = 2
EXIT_FILES = 3
EXIT_DISK = 4
EXIT_BROKEN = 70
LOOPBACK = ("localhost", "127.0.0.1", "::1")
TRAILING_BYTES = 4 << 20  # of entries kept in memory behind a snapshot
STACK_BYTES = 512 << 10  # a thread per connection, thousands of them


class Server:
    """One node: the core and its driver, its peers, its doors, and what it prints."""

    def __init__(
        self,
        name: str,
        recovered: Recovered,
        logmanager: LogManager,
        addresses: dict[str, Address],
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
        self.peer_names = frozenset(addresses) - {name}
        slowest_ms = pace.election_timeout_ms + pace.election_spread_ms
        self.patience_s = (4 * slowest_ms + 5000) / 1000
        self.speakers = Speakers(pace.election_timeout_ms, now_ms)
        self.announcer = Announcer(console)
        self._console = console
        self._addresses = addresses
        self._spelled: tuple[object, str] = ((), "[]")
        self._running = threading.Lock()  # released to stop: a signal handler may do that
        self._running.acquire()
        self._stopping = False
        self.exit_status = 0
        self.node = Node(
            name,
            list(recovered.members),
            recovered.log,
            recovered.hard_state,
            Options(
                pace.election_timeout_ms,
                pace.heartbeat_ms,
                lease=readings.mode == "lease",
                trailing_bytes=min(TRAILING_BYTES, compact_bytes // 2),
            ),
            _picker(pace),
            now_ms(),
            amnesiac=recovered.amnesiac,
            snapshot=recovered.snapshot,
        )
        self.driver = Driver(self.node, logmanager, self, hold_ms=2 * slowest_ms)
        self.snapshots = Snapshots(
            self.driver, logmanager, self._post, console.say, compact_bytes
        )
        self._peers = {
            peer: Peer(name, peer, addresses[peer], self._answered, self.driver.lost, console.say)
            for peer in sorted(self.peer_names)
        }

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
        self._peers[message.to].send(f"{self.name}@{text}\n".encode())

    def _post(self, message: InstallSnapshot) -> None:
        self._peers[message.to].send(f"{self.name}@{spell(message)}\n".encode())

    def wrote(self, arrived: Snapshot | None) -> None:
        """Look whether a snapshot is due, or has arrived whole."""
        self.snapshots.wrote(arrived)

    def not_leader(self, leader: str) -> str:
        """Return the reply that sends a client on to `leader`."""
        address = self._addresses[leader]
        return not_leader(leader, address.host, address.port)

    def report(self, effects: Effects) -> None:
        """Say on the console what a step did."""
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
        with _threads_without_signals():
            self.driver.start(self.name)
            for peer in self._peers.values():
                peer.start()
            self.snapshots.start()
            doors.open(self)
        self._running.acquire()
        if self.exit_status == 0:
            hand_over_before_stopping(self.driver, self._election_timeout_ms)
        self._console.end_traffic()
        self._console.say(f"[*] {self.name}: server is shutting down.")
        doors.close()
        self.snapshots.stop()
        self.driver.stop(patience_s=2.0)
        for peer in self._peers.values():
            peer.stop()
        doors.end_connections()
        if self.exit_status == 0:
            self._console.say(f"[*] {self.name}: has shut down cleanly.")
        return self.exit_status

    def stop(self) -> None:
        """Ask the node to stop; from any thread, also a signal handler."""
        self._stopping = True
        with contextlib.suppress(RuntimeError):  # it was asked before
            self._running.release()

    def status(self) -> str:
        """Return the reply to `status`."""
        facts = {**self.driver.status(), "reads": self.readings.mode, "pid": os.getpid()}
        return "STATUS response: " + json.dumps(facts)

    def _answered(self, answers: Sequence[Message]) -> None:
        for answer in answers:
            self.announcer.received(answer.sender, spell(answer), answer)
        for complaint in self.driver.receive(answers, None):
            self._console.say(f"[!] {self.name} does not take an answer: {complaint}")


def _picker(pace: Pace) -> Callable[[], int]:
    """Return the source of election timeouts: chance, which the core has none of its own."""
    chance = random.SystemRandom()
    return lambda: pace.election_timeout_ms + chance.randrange(pace.election_spread_ms)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one node; return 0 after a clean stop, 2 for wrong arguments or a port in use, 3 for
    files it must not start from, 4 when its disk failed, 70 when an invariant broke."""
    arguments = _parser().parse_args(argv)
    threading.stack_size(STACK_BYTES)
    with _threads_without_signals():
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
    port = config.port_number(arguments.port, "PORT")
    _check_host(arguments.host, open_to_network=arguments.open_to_network)
    configuration = _configuration(arguments, name, port)
    console.say(str(configuration.path))
    doors = Doors(arguments.host, port, arguments.max_connections)
    with contextlib.closing(doors), contextlib.closing(_Interrupts()) as interrupts:
        with _threads_without_signals():
            lifeline.watch(interrupts.stop)
        logmanager = LogManager(
            name,
            Folder(configuration.folder),
            {member: str(address) for member, address in configuration.members.items()},
        )
        recovered = logmanager.recover()
        for note in recovered.notes:
            console.say(note)
        addresses = _addresses(name, recovered, configuration, console)
        if addresses[name].port != port:
            console.say(
                f"[!] {configuration.path} says that others reach {name} on port "
                f"{addresses[name].port}, and it listens on {port}: right behind a proxy, else "
                "nobody will find it"
            )
        server = Server(
            name, recovered, logmanager, addresses, pace, console,
            readings=Readings(arguments.reads, arguments.follower_reads),
            compact_bytes=arguments.compact_at,
        )  # fmt: skip
        gc.collect()
        gc.freeze()  # what was recovered stays: no collection needs to look at it again
        interrupts.stop_with(server.stop)
        timeout_s = (server.node.state.election_at_ms - server.node.state.now_ms) / 1000
        where = (arguments.host, port)
        console.say(f"[*] Server started on {where} with timeout {timeout_s:.1f} seconds")
        return server.run(doors)


def _configuration(arguments: argparse.Namespace, name: str, port: int) -> Configuration:
    if arguments.register:
        configuration = config.register(config.locate(arguments.dir), name, port)
    else:
        configuration = config.load(arguments.dir)
    if name not in configuration.members:
        known = " ".join(configuration.members)
        raise ConfigError(
            f"{name} is not in {configuration.path} (it names: {known}); "
            f"add a line '{name} {arguments.host} {port}' there, or start with --register"
        )
    return configuration


def _addresses(
    name: str, recovered: Recovered, configuration: Configuration, console: Console
) -> dict[str, Address]:
    """Return where each member is reached: the log says who they are, the file has the last word
    on where (a proxy, another network)."""
    members = recovered.members
    if name not in members:
        raise ConfigError(
            f"{name} is no member of the cluster in its log ({' '.join(members)}): is this the "
            f"log of another node? Put its own {name}.log back, or start it elsewhere"
        )
    if set(members) != set(configuration.members):
        console.say(
            f"[!] the log says the members are {' '.join(members)}, {configuration.path} says "
            f"{' '.join(configuration.members)}: the log holds"
        )
    if recovered.amnesiac and set(members) == {name}:
        raise FilesRefused(
            f"{name}.log has lost entries that were synced before, and {name} is the only member: "
            "there is nobody to catch up from. Restore both of its files from one backup; or "
            f"remove {name}.storage as well, and begin anew and empty"
        )
    addresses = {}
    for member, where in members.items():
        host, _, port = where.rpartition(":")
        addresses[member] = configuration.members.get(member, Address(host, int(port)))
    return addresses


def _check_host(host: str, *, open_to_network: bool) -> None:
    if host not in LOOPBACK and not open_to_network:
        raise ConfigError(
            f"--host {host} lets everybody on the network speak as a peer, unauthenticated; "
            "where that is meant, add --open-to-network. Without --host only this machine can"
        )


def _bytes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:19]) >= 1 and len(text) < 19):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes, 1 or more")
    return int(text)


@contextlib.contextmanager
def _threads_without_signals() -> Iterator[None]:
    """Let threads that are started here never take a signal: a signal that another thread takes
    does not wake the main one, which alone can act on it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Interrupts:
    """Ctrl-C and SIGTERM from the first moment: before there is a server, they end the process."""

    def __init__(self) -> None:
        self._stop: Callable[[], None] = lambda: os._exit(0)
        self._before = {
            number: signal.signal(number, lambda *_: self._stop())
            for number in (signal.SIGINT, signal.SIGTERM)
        }

    def stop(self) -> None:
        """Do what a signal does."""
        self._stop()

    def stop_with(self, stop: Callable[[], None]) -> None:
        self._stop = stop

    def close(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=Path(sys.argv[0]).name if sys.argv else "server.py",
        description="Run one raftline node. It talks lines of text: try `nc localhost PORT`.",
    )
    parser.add_argument("name", metavar="NAME", help="which line of the configuration: s1")
    parser.add_argument("port", metavar="PORT", help="where to listen: 10000")
    parser.add_argument("--dir", help="folder of server-configuration.txt and of the node's files")
    parser.add_argument("--host", default="localhost", help="where to listen (default: localhost)")
    parser.add_argument(
        "--open-to-network", action="store_true", help="allow a --host that others can reach"
    )
    parser.add_argument(
        "--pace", choices=sorted(PACES), default="fast", help="human: elections take 10 to 18 s"
    )
    parser.add_argument(
        "--reads", choices=READ_MODES, default="index",
        help="index: a round of heartbeats confirms each read; lease: no round, trusting clocks;"
        " log: each get is an entry; local: from this node's own state, may be stale",
    )  # fmt: skip
    parser.add_argument(
        "--follower-reads", action="store_true",
        help="as a follower, ask the leader for its read index instead of sending clients there",
    )  # fmt: skip
    parser.add_argument(
        "--compact-at", type=_bytes, default=COMPACT_BYTES, metavar="BYTES",
        help="take a snapshot when the log is so long, and twice the last one (default: 8388608)",
    )  # fmt: skip
    parser.add_argument("--register", action="store_true", help="add NAME to the configuration")
    parser.add_argument("--verbose", action="store_true", help="print each heartbeat, too")
    parser.add_argument("--max-connections", type=int, default=4096, help="default: 4096")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
