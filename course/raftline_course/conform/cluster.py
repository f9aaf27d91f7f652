"""A cluster of real nodes: of the node under test alone, or mixed with another program."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from raftline.clients.connections.node_connection import Deadline
from raftline.clients.requests.one_node import HangUp, one_answer
from raftline.clients.steps import carry_out
from raftline.common.address import Address
from raftline.raft.messages import AppendAccepted
from raftline.wire.replies.replies import RequestOutcome, outcome_of
from raftline_course.conform.played.wires import HOST, KitShell
from raftline_course.conform.tested.tested_node import KitSettings, TestedNode, ports_of
from raftline_course.conform.transcript import FROM_NODE, TooManyLines, Transcript
from raftline_course.conform.verdicts import Failed
from raftline_testing.histories.history import ClientOperation, learned
from raftline_testing.nodes.proxy import Network, Pair

PAUSE_S = 0.05
SERVE_FACTOR = 4  # times the patience for one node, for a cluster on a busy machine


class TestedCluster:
    """Nodes s1, s2 and s3, each in its own folder, and the network between them.

    s1 is always the node under test; so are the others, unless `--with` says otherwise.
    """

    def __init__(self, settings: KitSettings) -> None:
        self.settings = settings
        self.transcript = Transcript()
        self.folder = Path(tempfile.mkdtemp(prefix="raftline-conform-"))
        ports = ports_of(3)
        self.network = Network(ports, seen=self._see)
        self.nodes: dict[str, TestedNode] = {}
        for name in ports:
            reached = {other: self.network.port(name, other) for other in ports}
            is_other = name != "s1" and settings.others
            command = settings.others if is_other else settings.command
            self.nodes[name] = TestedNode(name, ports[name], self.folder / name, reached, command)
        self._shells: dict[tuple[str, str], KitShell] = {}

    def __enter__(self) -> TestedCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self.network.close()
        for shell in self._shells.values():
            shell.do(HangUp())
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def patience_s(self) -> float:
        return self.settings.patience_s * SERVE_FACTOR

    def end(self) -> None:
        """End all nodes."""
        for node in self.nodes.values():
            node.kill()

    def said(self) -> str:
        """Return the end of the nodes' output."""
        return "\n".join(f"{name}: {node.said()[-600:]}" for name, node in self.nodes.items())

    def expect(self, truth: object, problem: str) -> None:
        """Fail the check unless this is true."""
        if not truth:
            raise Failed(problem)

    # --- faults --------------------------------------------------------------------------------

    def begin(self) -> TestedCluster:
        """Start all nodes for the first time, and wait until all may vote.

        A node of raftline that finds a leader at its first start has no vote until that leader
        gives it one. So nodes of another program start first, and all of one kind at once.
        """
        if self.settings.others:
            others = [name for name in self.nodes if name != "s1"]
            self.start(*others)
            self.leader(among=tuple(others))
        self.start(*(name for name, node in self.nodes.items() if not node.is_running))
        return self.settle()

    def start(self, *names: str) -> None:
        """Start these nodes, or all, at once."""
        for name in names or self.nodes:
            self.transcript.act(f"{name} starts")
            self.nodes[name].launch()
        for name in names or self.nodes:
            self.nodes[name].wait()

    def settle(self) -> TestedCluster:
        """Wait until a leader has heard from each other node, and none is without a vote."""
        end_s = time.monotonic() + self.patience_s
        since = self.transcript.end
        while True:
            leader = self.leader()
            if all(self._follows(name, leader, since) for name in self.nodes if name != leader):
                return self
            if time.monotonic() > end_s:
                raise Failed("not all nodes follow one leader")
            time.sleep(PAUSE_S)

    def _follows(self, name: str, leader: str, since: int) -> bool:
        for line in reversed(self.transcript.lines[since:]):
            is_said = line.name == name and line.other == leader
            if is_said and isinstance(line.message, AppendAccepted):
                return not line.message.without_vote
        return False

    def kill(self, *names: str) -> None:
        """Kill these nodes, or all, by kill -9."""
        for name in names or self.nodes:
            self.transcript.act(f"{name} is killed by kill -9")
            self.nodes[name].kill()

    def cut_off(self, name: str) -> None:
        """Cut a node off from all others in both directions, without notice to any node."""
        self.transcript.act(f"{name} is cut off")
        others = [other for other in self.nodes if other != name]
        pairs: set[Pair] = {(name, other) for other in others} | {(one, name) for one in others}
        self.network.cut(pairs)

    def heal(self) -> None:
        """Restore all links between the nodes."""
        self.transcript.act("the network is whole again")
        self.network.heal()

    # --- clients -------------------------------------------------------------------------------

    def ask_at(self, name: str, line: str, who: str) -> str:
        """Return a node's reply to one line; "" if it can't be reached, or doesn't answer."""
        shell = self._shells.setdefault((who, name), KitShell(who, self.transcript))
        address, raw = Address(HOST, self.nodes[name].port), line.encode("utf-8", "surrogateescape")
        asking = one_answer(address, raw, Deadline(self.settings.patience_s))
        try:
            reply: bytes = carry_out(asking, shell.do)
        except OSError:  # a late answer must not be taken for the answer to a later request
            shell.do(HangUp())
            return ""
        return reply.decode("utf-8", "surrogateescape")

    def leader(self, *, among: tuple[str, ...] = (), who: str = "client1") -> str:
        """Return the node that answers a read; wait until there is one."""
        problem = "no node leads: none answers a read"
        with self.settings.elections.awaited(problem):
            for name, reply in self._replies(f"{who}@get nothing", who, among):
                if reply.startswith("GET response"):
                    return name
            raise Failed(problem)

    def ask(self, request: str, who: str = "client1", *, among: tuple[str, ...] = ()) -> str:
        """Ask the leader; return its reply. If the outcome is unknown, it sends the request again:
        this must be harmless."""
        line = request if "@" in request.split(" ")[0] else f"{who}@{request}"
        open_ones = (RequestOutcome.UNKNOWN, RequestOutcome.NO_LEADER)
        for _, reply in self._replies(line, who, among):
            if reply and outcome_of(reply) not in open_ones:
                return reply
        raise Failed(f"no node serves {request!r}")

    def _replies(self, line: str, who: str, among: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        """Ask node after node until the time is up; yield each name with the reply. A redirect is
        not followed: it names an address of the network between the nodes."""
        end_s = time.monotonic() + self.patience_s
        while time.monotonic() < end_s:
            for name in among or tuple(self.nodes):
                yield name, self.ask_at(name, line, who)
            time.sleep(PAUSE_S)

    def operate(
        self, asked: ClientOperation, line: str, among: tuple[str, ...] = ()
    ) -> ClientOperation | None:
        """Ask each node once until one serves; return the operation as its client knows it, or None
        if it certainly had no effect."""
        for name in among or tuple(self.nodes):
            reply = self.ask_at(name, f"{asked.client}@{line}", asked.client)
            if not reply or outcome_of(reply) is RequestOutcome.UNKNOWN:
                return asked  # a node that died may have carried it out
            found = learned(asked, reply, time.monotonic())
            if found is not None:
                return found
        return None

    def _see(self, speaker: str, hearer: str, line: bytes, arrives: bool, _: float) -> None:
        with contextlib.suppress(UnicodeDecodeError, TooManyLines):
            name, _at, text = line.decode().rstrip("\n").partition("@")
            lost = "" if arrives else "   (lost)"
            self.transcript.add(FROM_NODE, f"{hearer}{lost}", name, text)


class Background:
    """Threads that send requests during faults. `join` raises their errors."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._problems: list[Exception] = []
        self._threads: list[threading.Thread] = []

    def run(self, work: object, *arguments: object) -> None:
        """Call `work` again and again until `join`."""
        assert callable(work)

        def loop() -> None:
            try:
                while not self.stopping.is_set():
                    work(*arguments)
            except Exception as problem:
                self._problems.append(problem)

        self._threads.append(threading.Thread(target=loop, daemon=True))
        self._threads[-1].start()

    def join(self) -> None:
        """Stop the threads."""
        self.stopping.set()
        for thread in self._threads:
            thread.join()
        if self._problems:
            raise self._problems[0]
