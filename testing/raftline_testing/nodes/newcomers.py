"""Nodes that ask to be members of a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from raftline.common.config import FILE_NAME

from ..doubles.in_process import raftline
from .cluster import Cluster, NodeProcess
from .machines import wipe
from .processes import eventually, free_ports


def newcomer(cluster: Cluster, there: NodeProcess, folder: Path | None = None) -> NodeProcess:
    """Return a node that is not a member and will ask `there` to be added, once it is started."""
    name = f"s{len(cluster.nodes) + 1}"
    folder = folder or cluster.folder
    options = [*cluster.nodes[0].options, "--join", f"localhost:{there.port}"]
    node = NodeProcess(name, next(free_ports), folder, options)
    cluster.nodes.append(node)
    return node


def joined(node: NodeProcess) -> NodeProcess:
    """Start a newcomer, and wait until it votes: where the leadership moves meanwhile, nobody may
    tell it so, and it asks no more."""
    node.start()

    def votes() -> bool:
        view = node.status()
        return node.name in view.get("voters", ()) and view["outgoing"] == []

    eventually(votes, f"{node.name} votes")
    return node


def members(cluster: Cluster) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(cluster.ask("members").partition(": ")[2])
    return facts


def recover_from(node: NodeProcess, cluster: Cluster) -> None:
    """Lose the files of all other nodes, and continue with those of one as `raftline recover`
    does, at its address."""
    for each in cluster.nodes:
        each.kill()
    for each in cluster.nodes:
        if each is not node:
            wipe(each)
    done = raftline("recover", node.name, "--yes", "--dir", node.folder)
    assert done.returncode == 0, done.stderr
    _serve(node)


def restore(cluster: Cluster, backup: Path) -> None:
    """Lose all files, and continue with a backup as `raftline restore` does, at the addresses of
    all nodes."""
    for node in cluster.nodes:
        node.kill()
        wipe(node)
    places = ",".join(f"{node.name}=localhost:{node.port}" for node in cluster.nodes)
    folder = cluster.folder / "restored"
    done = raftline("restore", backup, folder, "--members", places)
    assert done.returncode == 0, done.stderr
    for node in cluster.nodes:
        node.folder, node.where = folder, ["--dir", str(folder)]
        node.start()
    cluster.leader()


def _serve(node: NodeProcess, *options: str) -> None:
    node.start(*options)
    eventually(lambda: node.status().get("commit_index"), "it leads")


def begin_again(node: NodeProcess) -> None:
    """Make a node begin another cluster at its address, alone and without its files."""
    node.kill()
    for path in node.folder.iterdir():
        if path.is_file() and path.name != FILE_NAME:
            path.unlink()
    _serve(node, "--new")
