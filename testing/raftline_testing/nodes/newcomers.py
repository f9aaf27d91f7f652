"""Nodes that ask to be members of a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from raftline.common.config import FILE_NAME

from .cluster import Cluster, NodeProcess
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


def begin_again(node: NodeProcess) -> None:
    """Make a node begin another cluster at its address, alone and without its files."""
    node.kill()
    for path in node.folder.iterdir():
        if path.is_file() and path.name != FILE_NAME:
            path.unlink()
    node.start("--new")
    eventually(lambda: node.status().get("commit_index"), "it leads")
