"""tooz's own tests of coordination, on real nodes; with NEMESIS=1 leaders are killed meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from integrations.nodes import three_nodes
from tooz.tests.test_coordination import *  # noqa: F403


@pytest.fixture(scope="session", autouse=True)
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Three nodes, which the suite finds by the environment."""
    with three_nodes(tmp_path_factory.mktemp("nodes")) as at:
        # Nothing in the suite waits until they are over; a machine may stand still for seconds.
        os.environ["TOOZ_TEST_URL"] = f"raftline://{at}?membership_timeout=60&lock_timeout=60"
        yield
