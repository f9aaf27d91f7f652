"""One real node in a process of its own (src/harness/cluster.py)."""

from __future__ import annotations

from raftline.harness.cluster import SERVER, STARTED, Node

__all__ = ["SERVER", "STARTED", "Node"]
