"""Typed clients at real nodes: where those are, and at which level."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raftline_course.harness.cluster import STEADY, Cluster
from raftline_course.harness.processes import eventually


def at(cluster: Cluster) -> str:
    """Return the addresses of a cluster, as `connect` takes them; in half of the tests one alone,
    so that the program has to learn the others."""
    draw = zlib.crc32(os.environ["PYTEST_CURRENT_TEST"].encode())
    nodes = cluster.nodes
    if draw % 2:
        nodes = [nodes[draw // 2 % len(nodes)]]
    return ",".join(f"localhost:{node.port}" for node in nodes)


@contextmanager
def three_nodes(folder: Path, *options: str) -> Iterator[Cluster]:
    """Yield three nodes, led by s1, that have what typed clients need."""
    with Cluster(folder, 3, *(options or STEADY)) as cluster:
        cluster.start()
        if not options:
            cluster.led_by("s1")
        eventually(lambda: all(n.status().get("level", 0) >= 2 for n in cluster.nodes), "level")
        yield cluster
