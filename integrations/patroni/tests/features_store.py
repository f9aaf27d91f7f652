"""Three nodes of raftline as the store of Patroni's own acceptance tests (run_features.py)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import raftline
from raftline_testing.nodes.cluster import Cluster


class _Nodes:
    """The nodes, with the methods of a process that Patroni's tests use."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.pid = cluster.nodes[0].pid

    def poll(self) -> int | None:
        return None if self._cluster.running else 0

    def suspend(self) -> None:
        for node in self._cluster.nodes:
            node.pause()

    def resume(self) -> None:
        for node in self._cluster.nodes:
            node.resume()

    def terminate(self) -> None:
        for node in self._cluster.nodes:
            node.close()

    kill = terminate


def controller(base: Any) -> Any:
    """Return the class that Patroni's tests take for the store `raftline`; `base` is theirs."""

    class RaftlineController(base):  # type: ignore[misc]
        def _start(self) -> _Nodes:
            cluster = Cluster(Path(self._work_directory), 3).start().wait_until_begun()
            at = ",".join(f"localhost:{node.port}" for node in cluster.nodes)
            os.environ["PATRONI_RAFTLINE_HOSTS"] = at
            self._kv = raftline.connect(at, timeout=30)
            return _Nodes(cluster)

        def query(self, key: str, scope: str = "batman", group: Any = None) -> str | None:
            return self._kv.get(self.path(key, scope, group))

        def set(self, key: str, value: str) -> None:
            self._kv[self.path(key)] = value

        def cleanup_service_tree(self) -> None:
            self._kv.clear("/service/")

    return RaftlineController
