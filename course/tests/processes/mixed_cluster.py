"""Clusters of nodes in several languages, on a network that keeps the lines that it carries."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from raftline.common.config import FILE_NAME
from raftline.wire.commands.command_table import COMMANDS
from raftline_testing.abnf_grammar import Grammar
from raftline_testing.histories.linearizable import HistoryVerdict, check
from raftline_testing.nemesis.workload import Workload
from raftline_testing.nodes.cluster import NodeProcess
from raftline_testing.nodes.processes import eventually
from raftline_testing.nodes.proxy import LinkedCluster, Network
from raftline_testing.workloads.mix import Mix

JUDGED_S = 1500  # in which the kit is through on any machine
GRAMMAR = Grammar(COMMANDS)


class CNode(NodeProcess):
    """A process of the C node, or of another one that is started with the same words."""

    def __init__(self, program: Path | Sequence[str], name: str, port: int, folder: Path) -> None:
        super().__init__(name, port, folder)
        self._program = [str(program)] if isinstance(program, Path) else list(program)
        self.host = "127.0.0.1"

    @property
    def command(self) -> list[str]:
        return [*self._program, self.name, str(self.port), str(self.folder)]


class MixedCluster(LinkedCluster):
    """These programs, which announce no build, then nodes of raftline; the network keeps the lines
    that it carries."""

    def __init__(self, folder: Path, programs: Sequence[Path | Sequence[str]], others: int) -> None:
        super().__init__(folder, len(programs) + others, "--floor")
        self.said: set[tuple[str, str]] = set()  # a line, and the one who said it
        self.network.close()
        ports = {node.name: node.port for node in self.nodes}
        self.network = Network(ports, random.Random(1), self._carried)
        for place, node in enumerate(self.nodes):
            lines = [f"{name} localhost {self.network.port(node.name, name)}\n" for name in ports]
            (node.folder / FILE_NAME).write_text("".join(lines))
            if place < len(programs):
                self.nodes[place] = CNode(programs[place], node.name, node.port, node.folder)

    def _carried(self, speaker: str, hearer: str, line: bytes, arrives: bool, at_s: float) -> None:
        self.said.add((line.decode(), speaker))

    def leading(self) -> NodeProcess | None:
        """Return the node that leads, as a read that it serves proves."""
        for node in self.running:
            try:
                if node.ask("get probe", 2.0).partition("@")[2].startswith("GET response"):
                    return node
            except OSError:
                continue
        return None

    def wait_until_whole(self) -> MixedCluster:
        """Wait until a node leads and all may vote: a node of raftline that hears a leader before
        its first vote may not, until that leader has readmitted it. A newborn may still hear it."""

        def whole() -> bool:
            others = [node.status() for node in self.running if not isinstance(node, CNode)]
            facts = ("recovering", "newborn")
            return all(status.get(fact) is False for status in others for fact in facts)

        eventually(self.leading, "a leader")
        eventually(whole, "a vote for every node")
        return self

    def write(self, key: str, value: str) -> NodeProcess:
        """Set a key at the leader, and return that node."""

        def wrote() -> NodeProcess | None:
            node = self.leading()
            try:
                is_done = node is not None and "response: " in node.ask(f"w@set {key} {value}", 5.0)
            except OSError:
                return None
            return node if is_done else None

        return eventually(wrote, f"{key} set")

    def read(self, key: str) -> str:
        def value() -> str:
            node = self.leading()
            try:
                text = node.ask(f"get {key}", 5.0) if node is not None else ""
            except OSError:
                return ""
            return text.partition("@")[2] if "GET response" in text else ""

        return eventually(value, f"an answer to get {key}")

    def wait_until_alike(self) -> list[str]:
        """Wait until all logs hold the same entries, byte by byte; return them."""

        def alike() -> list[str]:
            logs = [entries_in(node.log) for node in self.nodes]
            return logs[0] if all(log == logs[0] for log in logs) else []

        return eventually(alike, "the same entries in all logs")


def entries_in(log: Path) -> list[str]:
    """Return the entries that count: `# cut after N` voids those after N."""
    entries: list[str] = []
    for line in log.read_text("utf-8").splitlines(keepends=True)[1:]:
        if found := re.fullmatch(r"# cut after ([0-9]+)\n", line):
            del entries[int(found[1]) :]
        elif not line.startswith("#"):
            entries.append(line)
    return entries


def lead_in_turn(
    cluster: MixedCluster,
    kind_of: Callable[[NodeProcess], object],
    kinds: set[object],
    *,
    least: int = 1,
    most: int,
) -> None:
    """Kill each leader after a write, until one of each kind has led; then restart all nodes."""
    led: set[object] = set()
    written: dict[str, str] = {}
    while len(written) < least or (led != kinds and len(written) < most):
        key, value = f"k{len(written)}", f"{len(written)} \\\\ é \\n"
        cluster.wait_until_whole()
        leader = cluster.write(key, value)
        written[key] = value
        led.add(kind_of(leader))
        leader.kill()
        assert cluster.read(key) == f"GET response: {value}"
        leader.start()
    assert led == kinds
    cluster.kill()
    cluster.start()
    for key, value in written.items():
        assert cluster.read(key) == f"GET response: {value}"
    entries = cluster.wait_until_alike()
    for key, value in written.items():
        assert any(f"set {key} {value}\n" in entry for entry in entries)
    check_wire(cluster)


def check_wire(cluster: MixedCluster) -> None:
    """Each line that the network carried is in the grammar, and so is each line of the logs."""
    said = cluster.said.copy()  # the network goes on
    assert len({speaker for _, speaker in said}) == 3
    for line, speaker in said:
        assert GRAMMAR.matches("question", line) or GRAMMAR.matches("answer", line), (speaker, line)
    for node in cluster.nodes:
        for line in node.log.read_text("utf-8").splitlines(keepends=True):
            assert GRAMMAR.matches("log-line", line), (node.name, line)


def answered(workload: Workload, verb: str) -> int:
    return sum(
        one.verb == verb and one.returned_at is not None for one in workload.history.operations
    )


def serve_amid_faults(cluster: MixedCluster) -> None:
    """Ask as clients during faults; the replies are linearizable, and all logs come to agree."""
    chance = random.Random(7)
    pause = threading.Event()
    cluster.wait_until_whole()
    with Workload(cluster.nodes, 3, Mix(keys=2, patience_s=3.0), "c-node") as workload:
        for fault in ["kill", "part", "drop", "pause"]:
            node = cluster.leading() or chance.choice(cluster.nodes)
            if fault == "kill":
                node.kill()
            elif fault == "part":
                cluster.network.part(frozenset({node.name}))
            elif fault == "drop":
                cluster.network.drop(0.2)
            else:
                node.pause()
            pause.wait(1.5)
            if fault == "kill":
                node.start()
            elif fault == "pause":
                node.resume()
            cluster.network.drop(0.0)
            cluster.network.heal()
            cluster.wait_until_whole()
        for verb in ("set", "get"):
            eventually(lambda verb=verb: answered(workload, verb) > 50, f"50 answers to {verb}")
    report = check(workload.history.operations)
    assert report.verdict is HistoryVerdict.LINEARIZABLE, "\n".join(report.excerpt)
    cluster.wait_until_alike()
    check_wire(cluster)
