"""A typed client of real nodes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import raftline
from raftline_testing.nodes.cluster import Cluster
from tests.processes.typed import at


@pytest.fixture
def three(cluster: Cluster) -> Cluster:
    """The nodes that a test disturbs, for a typed client."""
    return cluster


@pytest.fixture
def kv(nodes: Cluster) -> Iterator[raftline.KV[str]]:
    """A typed client of these nodes."""
    with raftline.connect(at(nodes)) as kv:
        yield kv


@pytest.fixture
def nothing_from_before(request: pytest.FixtureRequest) -> None:
    """Delete what the same test left on the other event loop."""
    if "nodes" in request.fixturenames:
        with raftline.connect(at(request.getfixturevalue("nodes"))) as kv:
            for key in list(kv):
                del kv[key]
