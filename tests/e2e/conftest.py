"""Clusters of three real nodes: one for a test, one for a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes that serve, for a test that hurts them."""
    with Cluster(tmp_path, 3) as cluster:
        yield cluster.start()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes that serve, for all tests of a file: they leave it as they found it."""
    with Cluster(tmp_path_factory.mktemp("cluster"), 3) as cluster:
        yield cluster.start()
