"""A disk that takes its time: the cluster goes on, and nothing is acknowledged too early."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.node import SERVER, Node
from tests.e2e.wire import Conversation, eventually

# Each fdatasync waits as long as the file `flag` exists.
HELD_SYNCS = """
import os, sys, threading
really, pause = os.fdatasync, threading.Event()
def fdatasync(descriptor):
    while os.path.exists({flag!r}):
        pause.wait(0.02)
    really(descriptor)
os.fdatasync = fdatasync
sys.path.insert(0, {source!r})
from raftline.server import main
sys.exit(main())
"""


def flag_of(node: Node) -> Path:
    return node.folder / f"{node.name}.held"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes that serve, whose disks can be held."""
    with Cluster(tmp_path, 3) as cluster:
        for node in cluster.nodes:
            code = HELD_SYNCS.format(flag=str(flag_of(node)), source=str(SERVER.parent))
            node.program = [sys.executable, "-c", code]
        cluster.start()
        cluster.ask("client4@set b 0")
        cluster.wait_until_equal()
        yield cluster


@contextlib.contextmanager
def held(*nodes: Node) -> Iterator[None]:
    for node in nodes:
        flag_of(node).touch()
    try:
        yield
    finally:
        for node in nodes:
            flag_of(node).unlink()


# fault F18
def test_a_follower_s_slow_disk_holds_nobody_up(cluster: Cluster) -> None:
    leader = cluster.leader()
    with held(cluster.followers()[0]), leader.connect() as client:
        for number in range(20):
            reply = client.ask(f"client4@set b {number}")
            assert reply == f"{leader.name}@SET response: b set to {number}"
    cluster.wait_until_equal()


def set_by_somebody(cluster: Cluster, value: str) -> bool:
    """Whether any node says that it set b: one whose disk is held may leave us waiting."""
    for node in cluster.nodes:
        with contextlib.suppress(OSError), Conversation(node.port, timeout_s=1.0) as client:
            if client.ask(f"client4@set b {value}").endswith(f"@SET response: b set to {value}"):
                return True
    return False


# fault F18
def test_while_the_leader_s_disk_is_held_the_others_commit_and_serve(cluster: Cluster) -> None:
    leader = cluster.leader()
    with held(leader):
        assert leader.ask("client4@set b 1") == f"{leader.name}@SET response: b set to 1"
        assert eventually(lambda: set_by_somebody(cluster, "2"))
    cluster.wait_until_equal()
    assert cluster.ask("client4@get b") == "GET response: 2"
    assert all(" set b 1\n" in node.log.read_text() for node in cluster.nodes)


# fault F18, mistake 5, mistake 18
def test_what_only_the_leader_s_disk_has_taken_is_not_acknowledged(cluster: Cluster) -> None:
    leader = cluster.leader()
    with held(*cluster.followers()):
        reply = leader.ask("client4@set b 1")
        assert reply.startswith(f"{leader.name}@Sorry, outcome unknown: ")
    assert cluster.ask("client4@get b") in ("GET response: 0", "GET response: 1")
