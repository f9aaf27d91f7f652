"""Snapshots with real processes: logs are compacted, a node far behind is refilled, and a kill at
any moment of it loses nothing."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline_testing.nodes.at_work import of_process
from raftline_testing.nodes.cluster import STEADY, Cluster, NodeProcess
from raftline_testing.nodes.processes import eventually
from tests.processes.disks.compacting import COMPACT_AT, base_of, check, compacted, write


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes that compact their logs at 20 kB."""
    with Cluster(tmp_path, 3, "--compact-at", str(COMPACT_AT), *STEADY) as cluster:
        yield cluster.start().led_by("s1")


def snapshot_of(node: NodeProcess) -> Path:
    return node.folder / f"{node.name}.state_machine"


def test_growing_log_is_compacted_and_a_restart_loses_nothing(small: Cluster) -> None:
    """A growing log is compacted, and a restart loses no pair."""
    write(small, 0, 2000)
    for node in small.nodes:
        compacted(node)
        eventually(
            lambda node=node: snapshot_of(node).read_text().startswith(f"{base_of(node)} "),
            "a log that begins where the snapshot ends",
        )
        node.wait_for_line(f"[*] {node.name} took a snapshot: the state after entry ")
        node.wait_for_line(f"[*] {node.name}.log begins after entry ")
        eventually(lambda node=node: node.status()["base_index"] > 0, "memory compacted")
        facts = node.status()
        assert facts["snapshot_index"] >= facts["base_index"]
        assert facts["snapshot_bytes"] > 0
        eventually(
            lambda node=node: node.status()["log_bytes"] == node.log.stat().st_size,
            "the length of the log in status",
        )
        assert node.log.stat().st_size < 2000 * 60
    small.kill()
    small.start()
    for node in small.nodes:
        node.wait_for_line(f"[*] {node.name}.state_machine: 100 keys, the state after entry ")
    check(small, 1999)
    write(small, 2000, 200)
    check(small, 2199)


def test_a_retry_gets_its_first_reply_from_a_snapshot(small: Cluster) -> None:
    session = small.ask("client4@session").removeprefix("SESSION response: ")
    first = small.ask(f"{session}#1@incr visits")
    behind = small.followers()[0]
    behind.kill()
    write(small, 0, 2000)
    for node in small.nodes:
        if node is not behind:
            compacted(node, 10)
    behind.start()
    behind.wait_for_line("installs the snapshot of")
    small.wait_until_equal()
    small.kill()
    small.start()
    assert small.ask(f"{session}#1@incr visits") == first
    assert small.ask("client4@get visits") == "GET response: 1"


def test_a_follower_far_behind_is_refilled_and_can_lead(small: Cluster) -> None:
    write(small, 0, 100)
    behind = small.followers()[0]
    behind.kill()
    write(small, 100, 3000)
    leader = small.leader()
    compacted(leader, 100)
    behind.start()
    behind.wait_for_line(f"[*] {behind.name} receives the snapshot of {leader.name} up to entry ")
    behind.wait_for_line(f"[*] {behind.name} installs the snapshot of {leader.name} up to entry ")
    leader.wait_for_line(f"[*] {leader.name} sends {behind.name} its snapshot up to entry ")
    small.wait_until_equal()
    compacted(behind, 100)  # its writer begins the log anew after the core's step
    other = next(node for node in small.nodes if node not in (leader, behind))
    other.kill()
    write(small, 3100, 100)  # its disk is half of the quorum now
    small.kill()
    small.start()
    check(small, 3199)


def test_node_that_lost_log_and_snapshot_has_no_vote(small: Cluster) -> None:
    """A node that lost its log and its snapshot receives both again before it votes."""
    write(small, 0, 2000)
    node = small.followers()[0]
    compacted(small.leader())
    node.kill()
    node.log.unlink()
    snapshot_of(node).unlink(missing_ok=True)
    node.start()
    node.wait_for_line("this node rejoins without a vote until it has caught up")
    node.wait_for_line(f"[*] {node.name} installs the snapshot of ")
    node.wait_for_line(f"[*] {node.name} has caught up and votes again")
    small.wait_until_equal()
    check(small, 1999)


@pytest.mark.parametrize("seed", [1, 2])
def test_nodes_killed_again_and_again_lose_no_acknowledged_write(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with Cluster(tmp_path, 3, "--compact-at", "4000") as cluster:
        cluster.start().wait_until_whole()
        written = 0
        for _ in range(6):
            victim = chance.choice(cluster.nodes)
            victim.kill()
            write(cluster, written, 300)
            written += 300
            victim.launch()
            write(cluster, written, chance.choice([100, 400]))
            written = int(cluster.ask("get k99").split()[2]) + 1
        cluster.kill()
        cluster.start()
        check(cluster, written - 1)
        cluster.wait_until_equal()


@pytest.mark.parametrize("way", ["flip", "cut", "delete"])
def test_damaged_snapshot_is_reported_and_the_node_catches_up(small: Cluster, way: str) -> None:
    """If a snapshot is damaged or missing, this is reported, and the node catches up."""
    write(small, 0, 2000)
    node = small.followers()[0]
    compacted(node)
    node.kill()
    path = snapshot_of(node)
    data = path.read_bytes()
    if way == "delete":
        path.unlink()
    else:
        flipped = data[:200] + bytes([data[200] ^ 1]) + data[201:]
        path.write_bytes(flipped if way == "flip" else data[:-1])
    node.start()
    if way == "delete":
        node.wait_for_line(f"[!] {node.name}.log begins after entry ")
    else:
        node.wait_for_line(f"[!] {node.name}.state_machine, line ")
        assert path.with_name(f"{path.name}.damaged-1").read_bytes() != data
    assert path.with_name(f"{node.name}.log.damaged-1").exists()
    node.wait_for_line(f"[*] {node.name} has caught up and votes again")
    check(small, 1999)


def test_leader_with_a_damaged_snapshot_sends_a_new_one(small: Cluster) -> None:
    """A leader whose snapshot is damaged takes a new one and sends that."""
    behind = small.followers()[0]
    written = itertools.count(0, 3000)

    def is_found() -> bool:
        """Whether the leader finds its snapshot rotten as it sends it; not where one that was
        still due has taken its place."""
        behind.kill()
        first = next(written)
        write(small, first, 3000)
        leader = small.leader()
        compacted(leader, first + 100)
        rotten = leader.status()["snapshot_index"]
        with snapshot_of(leader).open("r+b") as file:
            file.seek(200)
            file.write(b"?")
        behind.start()
        behind.wait_for_line(f"[*] {behind.name} installs the snapshot of {leader.name} up to ")
        small.wait_until_equal()
        assert leader.status()["snapshot_index"] >= rotten
        return any(f"{leader.name}.state_machine has rotted on" in one for one in leader.said)

    eventually(is_found, "a rotten snapshot that is sent")
    assert not any("refuses the snapshot" in line for line in behind.lines)
    small.kill()
    small.start()
    check(small, next(written) - 1)


def test_paused_follower_costs_the_leader_no_time_or_memory(tmp_path: Path) -> None:
    """While a follower is paused, the leader is not slower and needs no more memory."""
    with Cluster(tmp_path, 3, "--compact-at", "1000000", *STEADY) as cluster:
        cluster.start().led_by("s1")
        slow = cluster.followers()[0]
        slow.kill()
        value = "v" * 100_000
        with cluster.leader().connect() as client:
            for number in range(400):  # a state of 40 MB
                assert "SET response" in client.ask(f"client4@set big{number} {value}")
        leader = cluster.leader()
        eventually(lambda: leader.status()["snapshot_bytes"] > 8_000_000, "a large snapshot")
        before = of_process(leader.pid, "VmRSS")
        slow.start()
        slow.wait_for_line("receives the snapshot of")
        slow.pause()
        write(cluster, 0, 500)
        assert of_process(leader.pid, "VmRSS") - before < 12_000
        slow.resume()
        slow.wait_for_line("installs the snapshot of")
        cluster.wait_until_equal()
        check(cluster, 499)


def test_a_person_can_play_the_leader_and_send_a_piece(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3, "--pace", "human") as cluster:
        node = cluster["s1"].start("--new")
        with node.connect() as s2:
            assert s2.ask("s2@RequestVote 1-0-0") == "s1@Count on me term 1"
            line = 's2@InstallSnapshot 1-5-1 offset {} of 90 crc32 00000000 round 1 data "{}"'
            assert s2.ask(line.format(0, "5 1 snapshot ")) == (
                "s1@GiveSnapshotAfterByte 13 of 5-1 term 1 round 1"
            )
            assert s2.ask(line.format(40, "…")) == (
                "s1@GiveSnapshotAfterByte 13 of 5-1 term 1 round 1"
            )
            assert s2.ask(line.format(13, "x" * 77)) == (
                "s1@GiveSnapshotAfterByte 90 of 5-1 term 1 round 1"
            )
            node.wait_for_line("[!] s1 refuses the snapshot up to entry 5 that it received: line ")
            assert s2.ask("get a") == (
                "s1@Sorry, I am not the leader. Last leader I heard from is: s2 "
                f"(localhost:{cluster['s2'].port})"
            )
            assert s2.ask("s2@InstallSnapshot 1-5").startswith(
                "s1@Sorry, malformed InstallSnapshot. Its form is: InstallSnapshot TERM-"
            )
