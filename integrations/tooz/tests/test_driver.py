"""Locks of the driver on real nodes: cases that tooz's own tests leave out."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from integrations.nodes import three_nodes
from tooz import coordination

from raftline_testing.nodes.cluster import STEADY, Cluster
from raftline_testing.nodes.newcomers import begin_again, recover_from


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with three_nodes(tmp_path_factory.mktemp("nodes")) as at:
        yield at


@contextlib.contextmanager
def member(at: str, name: bytes) -> Iterator[coordination.CoordinationDriver]:
    one = coordination.get_coordinator(f"raftline://{at}", name)
    one.start()
    try:
        yield one
    finally:
        one.stop()


@pytest.mark.parametrize("how", [{"timeout": 3}, {"blocking": 3}, {"blocking": False}])
def test_foreign_lock_is_awaited_only_for_the_timeout(at: str, how: dict[str, float]) -> None:
    """A lock of another is waited for no longer than the timeout."""
    with member(at, b"a") as a, member(at, b"b") as b, a.get_lock(b"lamp"):
        got: list[bool] = []
        lock = b.get_lock(b"lamp")
        thread = threading.Thread(target=lambda: got.append(lock.acquire(**how)), daemon=True)
        thread.start()
        thread.join(30)
        assert got == [False]


def test_a_member_leads_a_group_and_stands_down(at: str) -> None:
    with member(at, b"a") as a:
        a.watch_elected_as_leader(b"group", lambda event: None)
        a.run_elect_coordinator()
        assert a.get_leader(b"group").get() == b"a"
        assert a.stand_down_group_leader(b"group")
        assert not a.stand_down_group_leader(b"group")


def test_lock_state_without_nodes_is_an_error_of_tooz(tmp_path: Path) -> None:
    """Whether a lock is still held is an error of tooz without nodes."""
    with Cluster(tmp_path, 1, *STEADY) as cluster:
        cluster.start()
        node = cluster.nodes[0]
        with member(f"localhost:{node.port}?timeout=2", b"a") as a:
            lock = a.get_lock(b"door")
            assert lock.acquire()
            node.kill()
            with pytest.raises(coordination.ToozConnectionError):
                lock.is_still_owner()


def test_driver_follows_a_cluster_that_began_again(tmp_path: Path) -> None:
    """The call that notices it fails. Its holdings are lost, and the next calls work."""
    with Cluster(tmp_path, 1, *STEADY) as cluster:
        node = cluster.start().leader()
        with member(f"localhost:{node.port}?timeout=10", b"a") as a:
            a.create_group(b"group").get()
            a.join_group(b"group").get()
            lost = a.get_lock(b"door")
            assert lost.acquire()
            begin_again(node)
            with pytest.raises(coordination.ToozConnectionError):
                a.get_members(b"group").get()
            assert a.get_groups().get() == []
            assert not lost.release()
            a.create_group(b"group").get()
            a.join_group(b"group").get()
            assert a.get_members(b"group").get() == {b"a"}
            with a.get_lock(b"door"):
                a.heartbeat()


def test_driver_follows_a_recovered_cluster(tmp_path: Path) -> None:
    """The groups are there, the member joins again, and a lock is free once its lease has ended."""
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        cluster.start()
        node = cluster.leader()
        at = ",".join(f"localhost:{each.port}" for each in cluster.nodes)
        with member(f"{at}?timeout=10&lock_timeout=4&membership_timeout=4", b"a") as a:
            a.create_group(b"group").get()
            a.join_group(b"group").get()
            lost = a.get_lock(b"door")
            assert lost.acquire()
            recover_from(node, cluster)
            with pytest.raises(coordination.ToozConnectionError):
                a.get_members(b"group").get()
            assert a.get_groups().get() == [b"group"]
            assert not lost.is_still_owner()
            lock = a.get_lock(b"door")
            assert lock.acquire(blocking=30)
            lock.release()
