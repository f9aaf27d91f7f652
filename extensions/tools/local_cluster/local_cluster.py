"""The processes of a cluster on this machine: started, watched and stopped together.

Ctrl-C at the terminal does not reach the nodes (each has its own session). So the client or
`raftline up` decides when a node ends. Each node ends with `raftline up` at the latest.
"""

from __future__ import annotations

import contextlib
import errno
import queue
import shlex
import signal
import socket
import threading
import time
from collections.abc import Sequence

from raftline.clients.connections.client_access import ClientAccess
from raftline.common.address import Address
from raftline.common.arguments import typed
from raftline.common.config import ConfigError, Configuration, Pace
from raftline.common.process.server_process import ServerProcess, end_all
from raftline.common.process.signals import threads_without_signals

from ..status import status
from .relay import Relay

STOP_SECONDS_MAX = 5.0
ASK_SECONDS_MAX = 1.0
ASK_AGAIN_SECONDS = 0.1
# Exit statuses of a node that does not start: wrong arguments, port in use; unusable files.
REFUSALS = (2, 3)


class NotStarted(Exception):
    """A node ended before its first answer. The message is one line for the user."""


class NobodyReads(Exception):
    """The reader of the nodes' lines is gone: `raftline up | head`."""


class LocalCluster:
    """The processes of one cluster. `start`, `wait_until_up` and `stop` are for one thread."""

    def __init__(
        self,
        configuration: Configuration,
        pace: Pace,
        verbose: bool,
        relay: Relay,
        options: Sequence[str] = (),
        program: Sequence[str] | None = None,
    ) -> None:
        """Prepare a cluster. Each node gets `options` as well. `program` replaces the store's
        program. In a new folder no node ever ran, so nodes start with `--new`.

        Raises:
            ConfigError: the environment names files for TLS that can't be used.
        """
        self._program = program
        self.configuration = configuration
        self.access = ClientAccess.of_environment()
        self._is_new = not configuration.folder.exists()
        self.pace = pace
        self.relay = relay
        self.picture = ""  # the line with the address of the view's page
        self.stopping = False  # True: `stop` was called, so nodes may end
        self.deaths: queue.Queue[str] = queue.Queue()  # names; "" is the reader
        self._options = ["--pace", pace.name, *["--verbose"] * verbose, *options]
        self._nodes: dict[str, ServerProcess] = {}  # started nodes
        self._answered: set[str] = set()  # nodes that have started successfully
        self._starting_again = threading.Lock()  # one at a time
        self._was_started_again: set[str] = set()

    def start(self) -> None:
        """Start a process for every member, once. `wait_until_up` shows whether they work.

        Raises:
            NotStarted: the system can't start another process.
        """
        for name, address in self.configuration.members.items():
            try:
                node = self._start_one(name, address)
            except OSError as error:
                raise NotStarted(f"{name} can't be started: {error.strerror}") from error
            self._watch_over(name, node)

    def check_ports(self) -> None:
        """Check that the ports of our nodes are free. Another program's answers there would look
        like theirs.

        Raises:
            NotStarted: a port is in use, or can't be used.
        """
        advice = "; choose others with --base-port"
        if not self.configuration.added:
            folder = self.configuration.folder
            advice = f"; if this cluster already runs, `raftline status --dir {folder}` shows it"
        for name, (host, port) in self.configuration.members.items():
            if problem := port_problem(host, port):
                raise NotStarted(
                    f"{name} can't be started: port {port} on {host} {problem}{advice}"
                )

    def _start_one(self, name: str, address: Address) -> ServerProcess:
        usual = address.host.lower() in ("localhost", "127.0.0.1")  # where a node listens anyway
        options = [*self._options, *([] if usual else ["--host", address.host])]
        folder = self.configuration.folder
        node = ServerProcess(name, address.port, folder, options, start_new_session=True)
        node.program = list(self._program or node.program)
        with self.relay.output_for(name) as output:
            return node.launch(*["--new"] * self._is_new, stdout=output)

    def _watch_over(self, name: str, node: ServerProcess) -> None:
        """Relay the lines of a new process, and queue its death."""
        self._nodes[name] = node
        with threads_without_signals():
            self.relay.follow(name, node.running.stdout)
            threading.Thread(
                target=self._wait_for_death, args=(name,), name=f"waits for {name}", daemon=True
            ).start()

    def _wait_for_death(self, name: str) -> None:
        self._nodes[name].running.wait()
        self.deaths.put(name)

    def wait_until_up(self, leader_wanted: bool, deadline: float) -> list[status.NodeStatus]:
        """Return the answers of all nodes, once ours have answered and, if `leader_wanted`, one
        leads or none of ours is left.

        `deadline` is on the monotonic clock, in seconds. At the deadline, the current answers are
        returned. After a death, the nodes are asked again: the answers are older than it.

        Raises:
            NotStarted: a node ended before its first answer.
            NobodyReads: the reader of the lines is gone.
        """
        while True:
            nodes = status.ask_all(self.configuration.members, self.access, ASK_SECONDS_MAX)
            self._answered |= {node.name for node in nodes if self._is_ours(node)}
            with contextlib.suppress(queue.Empty):
                self.report_death(self.deaths.get(timeout=ASK_AGAIN_SECONDS))
                continue
            complete = self._answered.issuperset(self.configuration.members)
            settled = not leader_wanted or status.leader_of(nodes) or not self.alive
            if (complete and settled) or time.monotonic() > deadline:
                return nodes

    def _is_ours(self, node: status.NodeStatus) -> bool:
        """Return whether the answer came from our process, and not from an earlier one."""
        ours = self._nodes.get(node.name)  # None: a member on another machine
        if node.answer is None or ours is None:
            return False
        return ours.is_running and node.answer.get("pid", ours.pid) == ours.pid

    def report_death(self, name: str) -> None:
        """Report how a node ended.

        Raises:
            NotStarted: it never worked, and was started with the whole cluster. NobodyReads: the
                reader of the lines is gone, and no node died.
        """
        if not name:
            raise NobodyReads
        code = self._nodes[name].running.returncode
        if code is None:  # it was started again meanwhile
            return
        how = how_it_ended(code)
        self.relay.finish(name)
        if name not in self._answered or code in REFUSALS:
            self.relay.show_last_lines(name)
            ended = f"{name} did not start ({how})"
            if name not in self._was_started_again:
                raise NotStarted(ended)
            self.relay.say(f"[!] {ended}; {self._others()}. {self._again(name)}")
            return
        ended = f"[!] {name} died ({how})" if code else f"[*] {name} stopped as requested"
        self.relay.say(f"{ended}; {self._others()}. {self._again(name)}")

    def _others(self) -> str:
        alive, all_of_them = self.alive, len(self._nodes)
        if 2 * alive > all_of_them:
            return "the others continue"
        return f"{alive} of {all_of_them} left, too few to serve" if alive else "none is left"

    def _again(self, name: str) -> str:
        """Return the command that starts a node again."""
        arguments = shlex.join(self._nodes[name].arguments)
        program = shlex.join(self._program) if self._program else f"{typed()} server"
        return f"To start it again, in another terminal: {program} {arguments}"

    def control(self, name: str, what: str) -> str:
        """Kill a node's process, stop it (SIGTERM), or start it again, and return what was done.
        Any thread may call this."""
        node = self._nodes.get(name)
        if node is None or what not in ("kill", "stop", "start"):
            return f"{name} was not started here"
        if what == "stop":
            node.send_signal()
            return f"{name} was asked to stop"
        if what == "kill":
            node.running.kill()
            return f"{name} was killed"
        with self._starting_again:  # a second process of this node would find its port taken
            return self._start_again(name)

    def _start_again(self, name: str) -> str:
        if self.stopping or self._nodes[name].is_running:
            return f"{name} runs"
        self._is_new = False  # the node has files now
        self._was_started_again.add(name)
        try:
            again = self._start_one(name, self.configuration.members[name])
        except (OSError, ConfigError) as error:
            return f"{name} can't be started: {error}"
        self._watch_over(name, again)
        return f"{name} is started"

    @property
    def alive(self) -> int:
        return sum(node.is_running for node in self._nodes.values())

    def stop(self) -> int:
        """Stop every node, by force after five seconds, and return how many were still running."""
        self.stopping = True
        running = end_all(self._nodes.values(), STOP_SECONDS_MAX)
        for name in self._nodes:
            self.relay.finish(name)
        return running


def port_problem(host: str, port: int) -> str:
    """Return the reason why a node can't listen there, or "" if it can."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), 1.0):
        return "is in use"
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(kind, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return "is in use"
        return f"can't be used: {(error.strerror or str(error)).lower()}"
    return ""


def how_it_ended(code: int) -> str:
    """Return an exit status in words: `exit status 4`, or `killed by SIGKILL`."""
    if code >= 0:
        return f"exit status {code}"
    names = {each.value: each.name for each in signal.Signals}
    return f"killed by {names.get(-code, f'signal {-code}')}"
