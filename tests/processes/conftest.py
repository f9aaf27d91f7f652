"""A typed client of real nodes, and the generator of load."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import raftline
from raftline_testing.nodes.cluster import Cluster
from tests.processes.typed import at

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def three(cluster: Cluster) -> Cluster:
    """The nodes that a test disturbs, for a typed client."""
    return cluster


@pytest.fixture
def kv(nodes: Cluster) -> Iterator[raftline.KV[str]]:
    """A typed client of these nodes."""
    with raftline.connect(at(nodes)) as kv:
        yield kv


@pytest.fixture(scope="module")
def generator() -> Path:
    """The generator of load, built as `make -C bench run` builds it."""
    subprocess.run(["make", "-C", "bench", "build/loadgen"], cwd=ROOT, check=True, timeout=100)
    return ROOT / "build" / "loadgen"
