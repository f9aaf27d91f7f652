"""Nodes for the suites of other projects; with NEMESIS=1 their leaders are killed meanwhile."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from raftline_testing.nodes.cluster import STEADY, Cluster

BEAT_S, DOWN_S = 5.0, 1.5


@contextlib.contextmanager
def three_nodes(folder: Path) -> Iterator[str]:
    """Run three nodes on files in `folder`; yield their addresses, with commas between."""
    is_hurt = bool(os.environ.get("NEMESIS"))
    with Cluster(folder, 3, *(() if is_hurt else STEADY)) as cluster:
        cluster.start()
        stop = threading.Event()
        killer = threading.Thread(target=_kill_leaders, args=(cluster, stop))
        if is_hurt:
            killer.start()
        yield ",".join(f"localhost:{node.port}" for node in cluster.nodes)
        stop.set()
        if killer.ident:
            killer.join()


def _kill_leaders(cluster: Cluster, stop: threading.Event) -> None:
    while not stop.wait(BEAT_S):
        leader = cluster.leader()
        leader.kill()
        time.sleep(DOWN_S)
        leader.start()
