"""Members that change and logs that are compacted: a snapshot stands for both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.node import Node
from tests.e2e.test_members import members, newcomer
from tests.e2e.test_snapshots import COMPACT_AT, base_of, check, compacted, write
from tests.e2e.wire import eventually


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes that compact their logs at 20 kB."""
    with Cluster(tmp_path, 3, "--compact-at", str(COMPACT_AT)) as cluster:
        yield cluster.start()


def join(cluster: Cluster) -> Node:
    """Add a node, and wait until it votes."""
    node = newcomer(cluster, cluster.nodes[0])
    node.options += ["--compact-at", str(COMPACT_AT)]
    node.start()
    eventually(lambda: node.name in members(cluster)["voters"], f"{node.name} as a voter")
    return node


# mistake 31, mistake 32
def test_who_joined_stands_in_the_snapshot_and_who_joins_later_learns_of_it(
    small: Cluster,
) -> None:
    write(small, 0, 200)
    fourth = join(small)
    changed = members(small)["members_since"]
    write(small, 200, 2000)
    for node in small.nodes:
        compacted(node, beyond=changed)
        assert f" {fourth.name}=localhost:{fourth.port}" in node.log.read_text().splitlines()[0]
    fifth = join(small)  # what it lacks is in no log any more
    fifth.wait_for_line(f"[*] {fifth.name} installs the snapshot of ")
    assert set(members(small)["voters"]) == {node.name for node in small.nodes}
    small.wait_until_equal()
    for node in small.nodes:
        node.kill()
    for node in small.nodes:
        node.start()
    check(small, 2199)
    assert set(members(small)["voters"]) == {node.name for node in small.nodes}
    assert base_of(fifth) > changed


# fault F10, mistake 20
def test_who_lost_the_entry_that_added_it_catches_up_and_votes_again(small: Cluster) -> None:
    write(small, 0, 2000)
    for node in small.nodes:
        compacted(node)
    fourth = join(small)
    small.wait_until_equal()
    assert base_of(fourth) > 0  # it began with a snapshot from before it was a member
    fourth.kill()
    fourth.log.unlink()
    fourth.start()
    fourth.wait_for_line(f"[*] {fourth.name} has caught up and votes again")
    check(small, 1999)
    small.wait_until_equal()
