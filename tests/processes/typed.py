"""Addresses of real nodes for typed clients."""

from __future__ import annotations

import os
import zlib

import raftline
from raftline_testing.nodes.cluster import Cluster


def holder_key(kv: raftline.KV[str], prefix: str) -> str:
    """Return the key of the only holder of a lock or an election."""
    [key] = kv.keys(f"{prefix}held/")
    return key


def somebody_waits(kv: raftline.KV[str], prefix: str) -> bool:
    """Return whether a claim to a lock or an election is in line."""
    return any(kv.keys(f"{prefix}line/"))


def at(cluster: Cluster) -> str:
    """Return the addresses of a cluster for `connect`; in half of the tests only one, so that the
    program has to learn the others."""
    draw = zlib.crc32(os.environ["PYTEST_CURRENT_TEST"].encode())
    nodes = cluster.nodes
    if draw % 2:
        nodes = [nodes[draw // 2 % len(nodes)]]
    return ",".join(f"localhost:{node.port}" for node in nodes)
