"""Disks of real nodes that become slow on demand: each sync takes a while longer."""

from __future__ import annotations

from pathlib import Path

from ..nodes.altered import alter
from ..nodes.cluster import Cluster, NodeProcess
from .scene import Fault, Scene

# While a file next to the node's files exists, each sync takes the seconds longer that it states.
SLOW_SYNCS = """
import os, sys, time
really = os.fdatasync
def fdatasync(descriptor):
    try:
        with open({slow!r}) as file:
            time.sleep(float(file.read() or 0))
    except FileNotFoundError:
        pass
    really(descriptor)
os.fdatasync = fdatasync
"""


def slow(node: NodeProcess) -> Path:
    """Return the file that says how many seconds longer each sync of a node takes."""
    return node.folder / f"{node.name}.slow"


def with_disks(cluster: Cluster) -> None:
    """Set up the nodes, before their start, with disks that `slow_disk` can make slow."""
    for node in cluster.nodes:
        alter(node, SLOW_SYNCS, slow=str(slow(node)))


def slow_disk(scene: Scene) -> Fault:
    """a disk whose syncs take up to 2 s longer, of one node or several"""
    with scene.struck(scene.chance.choice((1, 1, 2))) as nodes:
        seconds = scene.some(0.1, 2)
        yield f"slow disk of {' '.join(node.name for node in nodes)}"
        for node in nodes:
            slow(node).write_text(str(seconds))
        yield scene.some(1, 6)
        for node in nodes:
            slow(node).unlink()
