"""A retried request takes effect once, whoever leads and whatever was restarted in between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.wire import eventually


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, 3) as cluster:
        yield cluster.start().wait_until_whole()


# mistake 22, fault F77
def test_a_retry_takes_effect_once_across_leaders_and_restarts(cluster: Cluster) -> None:
    retried = "client4#17@incr visits"
    assert cluster.ask(retried) == "INCR response: 1"
    first = cluster.leader()
    first.kill()
    assert cluster.ask(retried) == "INCR response: 1"  # at another leader
    first.start()
    cluster.wait_until_equal()
    for node in cluster.nodes:
        node.terminate()
    for node in cluster.nodes:
        node.start()
    assert cluster.ask(retried) == "INCR response: 1"  # after everybody was restarted
    assert cluster.ask("client4@get visits") == "GET response: 1"
    assert eventually(lambda: first.log.read_text().count(f" {retried}\n") >= 3, "as it travelled")


def test_a_session_begun_has_a_fresh_name_each_time(cluster: Cluster) -> None:
    begun = {cluster.ask("client4@session") for _ in range(3)}
    assert len(begun) == 3
    assert all(reply.startswith("SESSION response: client4-") for reply in begun)
    name = begun.pop().removeprefix("SESSION response: ")
    assert cluster.ask(f"{name}#1@incr visits") == "INCR response: 1"
    assert cluster.ask("client4-999999#1@incr visits").startswith("Sorry, session expired: ")
    assert cluster.ask("client4@get visits") == "GET response: 1"
