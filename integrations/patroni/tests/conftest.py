"""Three real nodes of raftline for the tests of a file, and Patroni's view of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from patroni.dcs import get_dcs
from raftline_patroni.dcs import Raftline

from raftline_testing.nodes.cluster import STEADY, Cluster

_scopes = itertools.count()


def addresses(cluster: Cluster) -> str:
    return ",".join(f"localhost:{node.port}" for node in cluster.nodes)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("nodes"), 3, *STEADY) as cluster:
        yield cluster.start().led_by("s1")


@pytest.fixture
def store(nodes: Cluster) -> Callable[..., Raftline]:
    """Return the function that makes the store of a member; all are of one PostgreSQL cluster."""
    scope = f"scope{next(_scopes)}"

    def make(name: str = "p1", at: str = "", **options: object) -> Raftline:
        config = {
            "raftline": {"hosts": at or addresses(nodes)}, "scope": scope, "name": name,
            "ttl": 20, "loop_wait": 1, "retry_timeout": 3, **options,
        }  # fmt: skip
        made = get_dcs(config)
        assert isinstance(made, Raftline)
        return made

    return make
