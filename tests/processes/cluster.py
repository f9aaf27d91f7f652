"""Several real nodes in one folder (src/harness/cluster.py)."""

from __future__ import annotations

from raftline.harness.cluster import NEVER_SAID, STEADY, Cluster, Node

__all__ = ["NEVER_SAID", "STEADY", "Cluster", "Node"]
