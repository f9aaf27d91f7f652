"""Members that change and logs that are compacted: a snapshot stands for both."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import pytest

from raftline.storage.log_lines import checksum_line
from raftline_testing.files.node_files import storage_file
from raftline_testing.nodes.cluster import STEADY, Cluster, NodeProcess
from raftline_testing.nodes.newcomers import members, newcomer
from raftline_testing.nodes.processes import eventually
from tests.processes.disks.compacting import COMPACT_AT, base_of, check, compacted, write


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes that compact their logs at 20 kB."""
    with Cluster(tmp_path, 3, "--compact-at", str(COMPACT_AT), *STEADY) as cluster:
        yield cluster.start().led_by("s1")


def join(cluster: Cluster, compact_at: int = COMPACT_AT) -> NodeProcess:
    """Add a node, and wait until it votes."""
    node = newcomer(cluster, cluster.nodes[0])
    node.options += ["--compact-at", str(compact_at)]
    node.start()
    eventually(lambda: node.name in members(cluster)["voters"], f"{node.name} as a voter")
    return node


def test_joined_member_is_in_the_snapshot_for_later_joiners(small: Cluster) -> None:
    """A snapshot that is sent to a new member also has the members added before it."""
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


def test_cluster_with_a_learner_compacts_and_refills_it(small: Cluster) -> None:
    """A cluster with a learner compacts its log, restarts, and sends the learner a snapshot."""
    fourth = join(small)
    # It votes in the joint configuration already, when the change is not over.
    eventually(lambda: "is a learner" in small.ask(f"demote {fourth.name}"), "s4 is demoted")
    changed = members(small)["members_since"]
    formatted = " ".join(
        f"{node.name}=localhost:{node.port},{'learner' if node is fourth else 'voter'}"
        for node in small.nodes
    )
    write(small, 0, 2000)
    for node in small.nodes:
        base = compacted(node, beyond=changed)
        identity = f"cluster {node.status()['cluster']} level 1"
        first = node.log.read_text().splitlines()[0]
        facts = rf"{identity} sum [0-9a-f]{{8}} {re.escape(formatted)}"
        assert re.search(rf" base {facts}$", first), first
        assert base > changed
    small.kill()
    small.start()
    check(small, 1999)
    assert members(small)["learners"] == [fourth.name]
    assert fourth.status()["learners"] == [fourth.name]
    fourth.kill()
    behind = base_of(fourth)
    write(small, 2000, 3000)
    compacted(small.leader(), beyond=max(behind, 2500))
    fourth.start()
    fourth.wait_for_line(f"[*] {fourth.name} installs the snapshot of ")
    small.wait_until_equal()
    assert fourth.status()["learners"] == [fourth.name]
    next(node for node in small.followers() if node is not fourth).kill()
    write(small, 5000, 100)
    check(small, 5099)


def _lose_log(node: NodeProcess) -> None:
    node.log.unlink()


def _lose_what_came_behind_the_snapshot(node: NodeProcess) -> None:
    """Leave what a joiner has that was killed when it had installed the snapshot: it was recovering
    until the entry that adds it came."""
    base = node.log.read_bytes().splitlines(keepends=True)[0]
    index, term, *_ = base.split()
    node.log.write_bytes(base + checksum_line(0, crc32(base)))
    mark = (int(index), int(term))
    (node.folder / f"{node.name}.storage").write_bytes(
        storage_file(int(term), "-", mark, "amnesiac", node.name)
    )


@pytest.mark.parametrize("lose", [_lose_log, _lose_what_came_behind_the_snapshot])
def test_joiner_without_its_own_addition_catches_up_and_votes(
    small: Cluster, lose: Callable[[NodeProcess], None]
) -> None:
    """A new member without the entry that added it catches up and votes."""
    write(small, 0, 430)  # some 32 kB: enough for one snapshot, and too little for another
    for node in small.nodes:
        compacted(node)
    fourth = join(small, compact_at=1 << 20)
    small.wait_until_equal()
    assert base_of(fourth) > 0  # it began with a snapshot from before it was a member
    fourth.kill()
    lose(fourth)
    leader = small.leader()
    leader.kill()  # what it knows of the fourth node, the one that leads now doesn't
    leader.start()
    fourth.start()
    fourth.wait_for_line(f"[!] {fourth.name} is not a member as far as its log goes (s1 s2 s3): ")
    small.wait_until_equal()
    check(small, 429)
    small["s1"].kill()
    assert small.ask("client4@set b 5") == "SET response: b set to 5"  # by three of four
    assert fourth.status()["recovering"] is False
