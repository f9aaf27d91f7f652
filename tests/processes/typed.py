"""Addresses of real nodes for typed clients."""

from __future__ import annotations

import os
import zlib

from raftline_testing.nodes.cluster import Cluster


def at(cluster: Cluster) -> str:
    """Return the addresses of a cluster for `connect`; in half of the tests only one, so that the
    program has to learn the others."""
    draw = zlib.crc32(os.environ["PYTEST_CURRENT_TEST"].encode())
    nodes = cluster.nodes
    if draw % 2:
        nodes = [nodes[draw // 2 % len(nodes)]]
    return ",".join(f"localhost:{node.port}" for node in nodes)
