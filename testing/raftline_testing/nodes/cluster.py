"""Real nodes in one folder: their start, requests over their ports, and checks afterwards."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from raftline.common.config import FILE_NAME
from raftline.common.process.server_process import SERVER, WAIT_S, NotAsExpected, ServerProcess
from raftline.net import line_connection
from raftline.net.line_connection import LineConnection
from raftline.storage.birth import trace
from raftline.wire.replies.refusals import code_of
from raftline.wire.replies.replies import RequestOutcome, outcome_of

from .controlled import CONTROLLED
from .processes import DEADLINE_S, eventually, free_ports, is_free, sockets_at

__all__ = ["CALM", "SERVER", "STARTED", "STEADY", "Cluster", "NodeProcess", "failures_in"]

STARTED = "[*] Server started on"
# Elections take 2 to 4 s: a node that stalls for a second on a busy machine isn't deposed. The
# first leader is not left to chance either: `led_by` needs the controller.
STEADY = ("--pace", "class", "--controller")
# else stalls could depose a leader in the tests of a file
CALM = ("--pace", "human", "--controller")
STANDS_S = 1.0
_FAILURE = re.compile(
    r"Traceback|Exception in thread|Fatal Python error|([0-9T:.+-]+ )?\[!\] \S+ stops: SafetyError"
)

Kind = TypeVar("Kind", bound="Cluster")


def failures_in(lines: Iterable[str]) -> list[str]:
    """Return the lines with which a node reports an error of the program. A request that it prints
    may hold the same words."""
    return [line for line in lines if _FAILURE.match(line)]


def leader_of_most(views: Sequence[Mapping[str, Any]], members: int) -> str:
    """Return the leader that a majority of the members names in the given statuses, or ""."""
    leaders = Counter((view["term"], view["leader"]) for view in views)
    for view in views:
        agree = leaders[view["term"], view["name"]]
        if view["role"] == "leader" and agree > members // 2:
            return str(view["name"])
    return ""


class NodeProcess(ServerProcess):
    """A node, reached over its own port, across all its starts."""

    host = "localhost"
    is_alone = False  # the only member: it need not wait for others at its first start
    _asked: LineConnection | None = None

    @property
    def command(self) -> list[str]:
        """The command line; the program is the course's node if it must obey a controller."""
        program = self.program
        is_course = any(option.startswith("--controller") for option in self.options)
        if is_course and CONTROLLED and program == [sys.executable, str(SERVER)]:
            program = [sys.executable, CONTROLLED]
        return [*program, *self.arguments]

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def start(self, *options: str) -> NodeProcess:
        """Start the process and wait until it serves."""
        self.launch(*options).wait_for_line(STARTED)
        return self

    def launch(self, *options: str, stdout: int | IO[bytes] | None = None) -> NodeProcess:
        has_files = (
            any(self.folder.glob(f"{self.name}.[ls]*")) or (self.folder / trace(self.name)).exists()
        )
        is_first = self.is_alone and not has_files and not {"--new", "--join"} & {*options}
        return super().launch(*options, *["--new"] * is_first, stdout=stdout)

    def wait_until_it_serves(self, *options: str) -> None:
        """Wait until the node that was launched with these options serves. If a program outside of
        the tests has its port, say which one, and launch it again once the port is free."""
        try:
            self.wait_for_line(STARTED)
        except NotAsExpected as failure:
            if f"port {self.port} on" not in str(failure):
                raise
            warnings.warn(f"{failure}\n{sockets_at(self.port)}", stacklevel=2)
            eventually(lambda: is_free(self.port), f"port {self.port} is free")
            self.launch(*options).wait_for_line(STARTED)

    def connect(self, timeout_s: float = DEADLINE_S) -> LineConnection:
        return LineConnection(self.port, timeout_s, self.host)

    def ask(self, line: str | bytes, timeout_s: float = DEADLINE_S) -> str:
        """Return the reply to one line on a new connection."""
        return line_connection.ask(self.port, line, timeout_s, self.host)

    def ask_as_peer(self, line: str) -> str:
        """Return the reply to a line in a peer's name, once that peer has fallen silent."""

        def reply() -> str:
            text = self.ask(line)
            return "" if code_of(text.partition("@")[2]) == "speaks-elsewhere" else text

        return eventually(reply, f"an answer to {line[:80]}")

    def status(self) -> dict[str, Any]:
        """Return the node's status; {} if it can't be reached."""
        if not self.is_running or self.is_paused:
            return {}
        try:  # on one connection: each new one is a line on the node's console
            self._asked = self._asked or self.connect()
            facts: dict[str, Any] = json.loads(self._asked.ask("status").partition(": ")[2])
        except (OSError, ValueError):
            self._hang_up()
            return {}
        return facts

    def ended(self, timeout_s: float = DEADLINE_S) -> int:
        status = super().ended(timeout_s)
        self._hang_up()
        return status

    def close(self) -> None:
        super().close()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._asked is not None:
            self._asked.close()
        self._asked = None


class Cluster:
    """Nodes s1, s2, … in one folder. On exit, end them all and check their output."""

    def __init__(self, folder: Path, count: int, *options: str, prefix: str = "s") -> None:
        self.folder = folder
        self.nodes = [
            NodeProcess(f"{prefix}{number}", next(free_ports), folder, options)
            for number in range(1, count + 1)
        ]
        for node in self.nodes:
            node.is_alone = count == 1
        members = [f"{node.name} localhost {node.port}\n" for node in self.nodes]
        (folder / FILE_NAME).write_text("".join(members))

    def __enter__(self: Kind) -> Kind:
        return self

    def __exit__(self, _: object, problem: object, *__: object) -> None:
        for node in self.nodes:
            node.close()
        if isinstance(problem, BaseException) and not isinstance(problem, Exception):
            return  # Ctrl-C, which also reached a starting node: not a failure
        for node in self.nodes:
            if failures_in(node.lines):
                raise NotAsExpected(f"{node.name} printed:\n" + "\n".join(node.lines[-80:]))

    def __getitem__(self, name: str) -> NodeProcess:
        return next(node for node in self.nodes if node.name == name)

    @property
    def running(self) -> list[NodeProcess]:
        return [node for node in self.nodes if node.is_running]

    def start(self: Kind, *options: str) -> Kind:
        """Start every node that isn't running with these options, and wait until all serve."""
        idle = [node for node in self.nodes if not node.is_running]
        for node in idle:
            node.launch(*options)
        for node in idle:
            node.wait_until_it_serves(*options)
        return self

    def led_by(self: Kind, name: str) -> Kind:
        """Make a node the leader at once, by its controller, and wait until all follow it and may
        vote, and the leader has appended its own entries.

        A candidate has a second to win: a second timeout would depose it if it has just won, and
        then nobody votes before an election timeout.
        """
        node = self[name]
        stands_until_s = 0.0

        def leads() -> bool:
            nonlocal stands_until_s
            role = node.status().get("role")
            if role == "follower" or (role == "candidate" and time.monotonic() > stands_until_s):
                node.ask("Controller@TIMEOUT")
                stands_until_s = time.monotonic() + STANDS_S
            return role == "leader" and all(n.status().get("leader") == name for n in self.nodes)

        eventually(leads, f"{name} leads")
        return self.wait_until_whole().wait_until_begun()

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def leader(self, timeout_s: float = WAIT_S) -> NodeProcess:
        """Wait until a node leads and a majority of all nodes agrees; return it."""
        return eventually(self._leader, "a leader that a majority follows", timeout_s)

    def _leader(self) -> NodeProcess | None:
        views = [view for node in self.nodes if (view := node.status())]
        name = leader_of_most(views, len(self.nodes))
        return self[name] if name else None

    def followers(self) -> list[NodeProcess]:
        leader = self.leader()
        return [node for node in self.running if node is not leader]

    def ask(self, line: str) -> str:
        """Return the leader's reply, without its name, once there is one that settles the request.

        A `set`, or a numbered request, is sent again if its outcome is unknown because its leader
        was deposed meanwhile.
        """
        open_ones = [RequestOutcome.NO_LEADER]
        if re.match(r"([\w-]*@)?set |[\w-]+#[0-9]+@", line):
            open_ones.append(RequestOutcome.UNKNOWN)

        def reply() -> str:
            try:
                text = self.leader().ask(line).partition("@")[2]
            except OSError:
                return ""
            return "" if outcome_of(text) in open_ones else text

        return eventually(reply, f"an answer to {line}")

    def wait_for_consoles(self) -> None:
        """Wait for a second, so that the consoles may print lines again."""
        threading.Event().wait(1.1)

    def wait_until_whole(self: Kind) -> Kind:
        """Wait until every running node has all committed entries, and a vote: a node that started
        after the first election has none until it has caught up."""
        self.leader()
        self.wait_until_equal()
        eventually(
            lambda: all(node.status().get("recovering") is False for node in self.running), "votes"
        )
        return self

    def wait_until_begun(self: Kind) -> Kind:
        """Wait until every node above the floor knows the identity of the cluster."""
        above = [node for node in self.nodes if "--floor" not in node.options]
        eventually(lambda: all(node.status().get("cluster") for node in above), "the identity")
        return self

    def wait_until_equal(self) -> None:
        """Wait until every running node has applied all of the leader's entries; its disk may lack
        some if other disks were faster."""

        def equal() -> bool:
            views = [node.status() for node in self.running]
            ends = {(view.get("last_index"), view.get("last_applied")) for view in views}
            return len(ends) == 1 and all(a == b and a is not None for a, b in ends)

        eventually(equal, "equal nodes")

    def wait_until_on_all_disks(self) -> int:
        """Wait until every running node has applied all of the leader's entries and has them on its
        disk, so that its log shows them; return the index of the last entry."""
        facts = ("last_index", "synced_index", "last_applied")

        def on_disk() -> int:
            views = [node.status() for node in self.running]
            ends = {view.get(fact, 0) for view in views for fact in facts}
            return int(ends.pop()) if len(ends) == 1 else 0

        return eventually(on_disk, "equal logs on all disks")
