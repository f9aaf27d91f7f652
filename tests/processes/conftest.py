"""Clusters of three real nodes: one for a test, one for a file."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import raftline
from raftline_testing.nodes.cluster import CALM, STEADY, Cluster
from tests.processes.typed import at

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes that serve, for a test that hurts them; s1 leads, until something is done."""
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        yield cluster.start().led_by("s1")


@pytest.fixture
def calm(tmp_path: Path) -> Iterator[Cluster]:
    """The same for a test in which the term counts: nodes that stand still for seconds elect
    nobody. What takes election timeouts takes ten seconds each."""
    with Cluster(tmp_path, 3, *CALM) as cluster:
        yield cluster.start().led_by("s1")


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes at the usual pace, where chance has a hand in every election."""
    with Cluster(tmp_path, 3) as cluster:
        yield cluster.start().wait_until_whole()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes that serve, led by s1, for all tests of a file: they leave it as it was."""
    with Cluster(tmp_path_factory.mktemp("cluster"), 3, *CALM) as cluster:
        yield cluster.start().led_by("s1")


@pytest.fixture(scope="module")
def nodes(shared: Cluster) -> Cluster:
    """The same, for tests that ask through a typed client."""
    return shared


@pytest.fixture
def three(cluster: Cluster) -> Cluster:
    """Those that a test hurts, beside a typed client."""
    return cluster


@pytest.fixture
def kv(nodes: Cluster) -> Iterator[raftline.KV[str]]:
    """A typed client of these."""
    with raftline.connect(at(nodes)) as kv:
        yield kv


@pytest.fixture(scope="module")
def generator() -> Path:
    """The generator of load, built as `make bench` builds it."""
    subprocess.run(["make", "build/loadgen"], cwd=ROOT, check=True, timeout=100)
    return ROOT / "build" / "loadgen"
