"""Clusters of three real nodes, for pytest: one for a test, one for a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster import CALM, STEADY, Cluster, NodeProcess
from .loaded_program import can_fork

# Folders and files whose subject is the start of a node: no fork stands in for one.
OF_STARTS = ("install", "sheet", "test_smoke.py", "test_start_refused.py")


@pytest.fixture(scope="module", autouse=True)
def _forked_nodes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fork the nodes of tests from a process that has loaded their program."""
    with pytest.MonkeyPatch.context() as patch:
        if can_fork() and not set(OF_STARTS) & set(request.path.parts):
            from .forked import ForkedPopen  # which looks into /proc

            patch.setattr(NodeProcess, "popen", ForkedPopen)
        yield


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes that serve, for a test that hurts them; s1 leads, until something is done."""
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        yield cluster.start().led_by("s1")


@pytest.fixture
def calm(tmp_path: Path) -> Iterator[Cluster]:
    """The same for a test in which the term counts: nodes that stand still for seconds elect
    nobody. An election timeout takes ten seconds."""
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
