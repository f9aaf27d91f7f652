"""A cluster whose files are made from a backup."""

from __future__ import annotations

from pathlib import Path

from raftline_testing.doubles.in_process import raftline
from raftline_testing.nodes.cluster import Cluster, NodeProcess


def restored_cluster(backup: Path, folder: Path, count: int) -> Cluster:
    """Return a cluster whose files are made from the backup, with its own ports."""
    ports = Cluster(folder.parent, count).nodes
    members = [f"{node.name}=localhost:{node.port}" for node in ports]
    done = raftline("restore", backup, folder, "--members", *members)
    assert done.returncode == 0, done.stderr
    assert f" server s1 {ports[0].port} --dir {folder}\n" in done.stdout
    cluster = Cluster(folder.parent, 0)
    cluster.folder = folder
    cluster.nodes = [NodeProcess(node.name, node.port, folder, []) for node in ports]
    return cluster
