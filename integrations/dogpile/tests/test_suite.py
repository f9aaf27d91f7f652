"""dogpile's own suites for backends, on real nodes; with NEMESIS=1 leaders are killed meanwhile."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from dogpile.cache import make_region, register_backend
from dogpile.cache.api import NO_VALUE
from dogpile.testing.fixtures import (
    _GenericBackendTestSuite,
    _GenericMutexTestSuite,
    _GenericSerializerTestSuite,
)
from integrations.nodes import three_nodes

from raftline.errors import RaftlineError
from raftline_testing.doubles.in_process import raftline
from raftline_testing.nodes.cluster import STEADY, Cluster
from raftline_testing.nodes.newcomers import begin_again, recover_from, restore

NAME = "dogpile.cache.raftline"
_ALL: list[dict[str, object]] = []

register_backend(NAME, "raftline_dogpile.backend", "RaftlineBackend")


def arguments_of(**more: object) -> dict[str, dict[str, object]]:
    """Return what a suite configures a region with; the nodes are added once they run."""
    _ALL.append(more)
    return {"arguments": more}


@pytest.fixture(scope="session", autouse=True)
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Three nodes, whose addresses each suite gets."""
    with three_nodes(tmp_path_factory.mktemp("nodes")) as at:
        for arguments in _ALL:
            arguments["at"] = at
        yield


class TestValues(_GenericBackendTestSuite):
    backend = NAME
    config_args = arguments_of()


class TestValuesWithATime(_GenericBackendTestSuite):
    backend = NAME
    config_args = arguments_of(expiration_time=60)


class TestSerializers(_GenericSerializerTestSuite, _GenericBackendTestSuite):
    backend = NAME
    config_args = arguments_of()


class TestJson(_GenericBackendTestSuite):
    backend = NAME
    config_args = arguments_of(serializer="json")


class TestMutexes(_GenericMutexTestSuite):
    backend = NAME
    config_args = arguments_of(distributed_lock=True)


def test_keys_may_come_from_a_generator() -> None:
    region = make_region().configure(NAME, arguments={"at": _ALL[0]["at"]})
    region.set("lamp", "on")
    assert region.get_multi(key for key in ("lamp", "door")) == ["on", NO_VALUE]
    region.delete_multi(key for key in ("lamp", "door"))
    assert region.get("lamp") is NO_VALUE


def test_json_values_of_other_writers_run_no_code(tmp_path: Path) -> None:
    """A value of another writer runs no code where values are JSON."""
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (ran,)

    region = make_region().configure(NAME, arguments={"at": _ALL[0]["at"], "serializer": "json"})
    region.set("price", {"lamp": 5})
    assert region.get("price") == {"lamp": 5}
    kept = region.backend.get_serialized("price")
    assert kept.endswith(b'{"lamp": 5}')
    facts = kept.partition(b"|")[0]
    region.backend.set_serialized("price", facts + b"|" + pickle.dumps(Evil()))
    assert region.get("price") is NO_VALUE
    assert not ran.exists()


def test_an_unknown_serializer_is_refused() -> None:
    with pytest.raises(ValueError, match='serializer is "json" or "pickle"'):
        make_region().configure(NAME, arguments={"at": _ALL[0]["at"], "serializer": "yaml"})


def test_cache_follows_a_cluster_that_began_again(tmp_path: Path) -> None:
    """No call fails: a cache loses what was in it."""
    with Cluster(tmp_path, 1, *STEADY) as cluster:
        node = cluster.start().leader()
        region = make_region().configure(NAME, arguments={"at": f"localhost:{node.port}"})
        region.set("lamp", "on")
        assert region.get("lamp") == "on"
        begin_again(node)
        assert region.get("lamp") is NO_VALUE
        region.set("lamp", "off")
        assert region.get("lamp") == "off"


@pytest.mark.parametrize("how", ["recover", "restore"])
def test_cache_and_its_lock_follow_a_repaired_cluster(how: str, tmp_path: Path) -> None:
    """Its values are there, and the lock of a program that is gone ends with its lease."""
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        cluster.start()
        node = cluster.leader()
        at = ",".join(f"localhost:{each.port}" for each in cluster.nodes)
        arguments = {"at": at, "distributed_lock": True, "lock_timeout": 4}
        region = make_region().configure(NAME, arguments=arguments)
        region.set("lamp", "on")
        mutex = region.backend.get_mutex("door")
        assert mutex.acquire()
        if how == "recover":
            recover_from(node, cluster)
        else:
            backup = tmp_path / "backup"
            assert raftline("backup", backup, "--at", f"localhost:{node.port}").returncode == 0
            restore(cluster, backup)
        assert region.get("lamp") == "on"
        region.set("lamp", "off")
        assert region.get("lamp") == "off"
        with contextlib.suppress(RaftlineError):
            mutex.release()  # of the earlier cluster
        again = region.backend.get_mutex("door")
        assert again.acquire()
        again.release()
        assert region.get_or_create("price", lambda: 5) == 5
