"""Real nodes for the lab's scenarios."""

from __future__ import annotations

from pathlib import Path

from labs.elections.figures import entries_that_count
from labs.repair.actions import RepairLab
from labs.repair.asking import KEY
from raftline.common.address import Address
from raftline_testing.nodes.cluster import Cluster


class RepairCluster(Cluster):
    """The nodes node1, node2 and node3, which obey a controller, and the lab that acts on them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, 3, "--controller", prefix="node")
        self.lab = RepairLab({node.name: Address("localhost", node.port) for node in self.nodes})

    def values(self) -> dict[str, list[str]]:
        """Return the client's values in each node's log, as `TERM,VALUE`."""
        values_of_nodes = {}
        for node in [node for node in self.nodes if node.log.exists()]:
            entries = [line.split(" ", 2) for line in entries_that_count(node)]
            values_of_nodes[node.name] = [
                f"{term},{command.rpartition(' ')[2]}"
                for _, term, command in entries
                if f"set {KEY} " in command
            ]
        return values_of_nodes
