"""Real nodes that are configured as if each ran on a machine of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from raftline.common.config import FILE_NAME
from raftline.storage.birth import trace

from .cluster import Cluster, NodeProcess
from .processes import eventually, free_ports

# This machine, in a form that the resolver takes for 127.0.0.1 and raftline for another machine.
ELSEWHERE = "127.1"
SEVEN_ROUNDS = "asked 8 times for PreVotes"  # each takes at least an election timeout


class Machines(Cluster):
    """A cluster whose nodes have a folder each, and addresses beyond the loopback."""

    def __init__(self, folder: Path, count: int, *options: str, host: str = ELSEWHERE) -> None:
        self.folder, self.host = folder, host
        self._options = options
        self.nodes: list[NodeProcess] = []
        for _ in range(count):
            self.add()
        self.configure(self.nodes)

    def add(self, *options: str) -> NodeProcess:
        """Return a node that never ran, and that no configuration names."""
        name = f"s{len(self.nodes) + 1}"
        node = NodeProcess(name, next(free_ports), self.folder / name, (*self._options, *options))
        node.folder.mkdir()
        node.where = ["--dir", str(node.folder)]
        if "--join" in options:
            node.options += ["--advertise", self.address(node)]
        self.nodes.append(node)
        return node

    def address(self, node: NodeProcess) -> str:
        """Return a node's address in the configuration."""
        return f"{self.host}:{node.port}"

    def configure(self, nodes: Sequence[NodeProcess]) -> None:
        """Make the configuration file of each of these nodes name them all."""
        lines = [f"{node.name} {self.host} {node.port}\n" for node in nodes]
        for node in nodes:
            (node.folder / FILE_NAME).write_text("".join(lines))

    def join(self) -> NodeProcess:
        """Start another node, and wait until it is a member with a vote."""
        node = self.add("--join", self.address(self.leader())).start()
        eventually(lambda: self._has_vote(node.name), f"a vote of {node.name}")
        return node

    def _has_vote(self, name: str) -> bool:
        return all(
            name in view.get("voters", ()) and view.get("recovering") is False
            for view in (node.status() for node in self.running)
        )


def wipe(*nodes: NodeProcess) -> None:
    """Replace the disks of stopped nodes: only their configuration is there again."""
    for node in nodes:
        for path in (*node.folder.glob(f"{node.name}.*"), node.folder / trace(node.name)):
            path.unlink()


def begins_nothing(*nodes: NodeProcess) -> None:
    """Wait until each of these nodes has asked the others for longer than six election timeouts;
    none of them may lead meanwhile."""
    for node in nodes:
        node.wait_for_line(SEVEN_ROUNDS)
        assert not {"[*] Starting election...", "[*] I am Leader"} & {*node.said}, node.transcript()
