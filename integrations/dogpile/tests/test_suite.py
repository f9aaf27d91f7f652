"""dogpile's own suites for backends, on real nodes; with NEMESIS=1 leaders are killed meanwhile."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest
from dogpile.cache import register_backend
from dogpile.testing.fixtures import (
    _GenericBackendTestSuite,
    _GenericMutexTestSuite,
    _GenericSerializerTestSuite,
)

from raftline_course.harness.cluster import Cluster

NAME = "dogpile.cache.raftline"
BEAT_S, DOWN_S = 5.0, 1.5
_ALL: list[dict[str, object]] = []

register_backend(NAME, "raftline_dogpile.backend", "RaftlineBackend")


def arguments_of(**more: object) -> dict[str, dict[str, object]]:
    """Return what a suite configures a region with; the nodes are added once they run."""
    _ALL.append(more)
    return {"arguments": more}


@pytest.fixture(scope="session", autouse=True)
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Three nodes, whose addresses each suite gets."""
    with Cluster(tmp_path_factory.mktemp("nodes"), 3) as cluster:
        cluster.start()
        at = ",".join(f"localhost:{node.port}" for node in cluster.nodes)
        for arguments in _ALL:
            arguments["at"] = at
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


class TestValues(_GenericBackendTestSuite):
    backend = NAME
    config_args = arguments_of()


class TestValuesWithATime(_GenericBackendTestSuite):
    backend = NAME
    config_args = arguments_of(expiration_time=60)


class TestSerializers(_GenericSerializerTestSuite, _GenericBackendTestSuite):
    backend = NAME
    config_args = arguments_of()


class TestMutexes(_GenericMutexTestSuite):
    backend = NAME
    config_args = arguments_of(distributed_lock=True)
