"""tooz's own tests of coordination, on real nodes; with NEMESIS=1 leaders are killed meanwhile."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from raftline_course.harness.cluster import Cluster

BEAT_S, DOWN_S = 5.0, 1.5

from tooz.tests.test_coordination import *  # noqa: E402, F403


@pytest.fixture(scope="session", autouse=True)
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Three nodes, which the suite finds by the environment."""
    with Cluster(tmp_path_factory.mktemp("nodes"), 3) as cluster:
        cluster.start()
        at = ",".join(f"localhost:{node.port}" for node in cluster.nodes)
        os.environ["TOOZ_TEST_URL"] = f"raftline://{at}?membership_timeout=5&lock_timeout=5"
        stop = threading.Event()
        killer = threading.Thread(target=_kill_leaders, args=(cluster, stop))
        if os.environ.get("NEMESIS"):
            killer.start()
        yield
        stop.set()
        if killer.ident:
            killer.join()


def _kill_leaders(cluster: Cluster, stop: threading.Event) -> None:
    while not stop.wait(BEAT_S):
        leader = cluster.leader()
        leader.kill()
        time.sleep(DOWN_S)
        leader.start()
