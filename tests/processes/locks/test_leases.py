"""Leases with real processes: they end by themselves, never early, and not much later."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from raftline_testing.nemesis import faults, splits
from raftline_testing.nemesis.holding import late, lateness, leases_of, window
from raftline_testing.nemesis.nemesis import Kind, Nemesis
from raftline_testing.nemesis.scene import Fault, Scene
from raftline_testing.nemesis.slow_disk import slow_disk, with_disks
from raftline_testing.nodes.cluster import STEADY, Cluster
from raftline_testing.nodes.processes import eventually
from raftline_testing.nodes.proxy import LinkedCluster

SLICE_S = 12


def granted(cluster: Cluster, seconds: int) -> str:
    return cluster.ask(f"client4#1@lease {seconds}").split()[2]


def test_unrenewed_lease_ends_with_its_keys_on_every_node(three: Cluster) -> None:
    """A lease that is not renewed expires with its keys on every node."""
    lease = granted(three, 5)
    assert three.ask(f"under {lease} set a 1") == "SET response: a set to 1"
    assert three.ask("setex b 1 2") == "SETEX response: b set to 2"
    assert three.ask("set c 3") == "SET response: c set to 3"
    for node in three.nodes:
        eventually(
            lambda node=node: node.ask("show read local").endswith('SHOW response: {"c": "3"}'),
            f"the keys gone at {node.name}",
        )
    assert leases_of(three) == {}
    assert three.ask(f"renew {lease}") == f"RENEW response, no such lease: {lease}"


def test_renewed_lease_gets_its_whole_time_of_a_new_leader(three: Cluster) -> None:
    """A renewed lease stays, and a new leader restarts its TTL."""
    lease = granted(three, 6)
    assert three.ask(f"under {lease} set a 1") == "SET response: a set to 1"
    end_s = time.monotonic() + 8
    while time.monotonic() < end_s:
        assert three.ask(f"renew {lease}") == f"RENEW response: {lease} for 6 s"
        threading.Event().wait(0.5)
    before = three.leader()
    before.kill()
    assert three.leader() is not before
    assert leases_of(three)[lease]["left"] > 1  # type: ignore[index, operator]
    assert three.ask("get a") == "GET response: 1"
    eventually(lambda: three.ask("get a") == "GET response, no such key: a", "the end of the lease")


def test_leases_are_there_after_a_snapshot_and_a_restart_of_all(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3, *STEADY, "--compact-at", "2000") as cluster:
        cluster.start().led_by("s1")
        lease = granted(cluster, 60)
        assert cluster.ask(f"under {lease} set a 1") == "SET response: a set to 1"
        assert cluster.ask("setex b 2 1") == "SETEX response: b set to 1"
        for number in range(100):
            assert cluster.ask(f"set filler {number} {'x' * 50}").startswith("SET response: ")
        for node in cluster.nodes:
            node.wait_for_line(f"[*] {node.name} took a snapshot: ")
        cluster.kill()
        cluster.start()
        eventually(lambda: cluster.ask("get b") == "GET response, no such key: b", "the end of b")
        assert leases_of(cluster)[lease]["keys"] == ["a"]  # type: ignore[index]
        assert cluster.ask(f"release {lease}") == (
            f"RELEASE response: {lease} released, 1 key deleted"
        )


def test_a_follower_sends_on_renewals_and_questions_for_the_time(three: Cluster) -> None:
    at = f"Last leader I heard from is: s1 (localhost:{three['s1'].port})"
    for line in ("renew lease-57", "ttl a", "leases", "lease 10"):
        assert three["s2"].ask(line) == f"s2@Sorry, I am not the leader. {at}"


def test_a_leader_without_a_quorum_confirms_no_renewal(three: Cluster) -> None:
    lease = granted(three, 60)
    leader = three.leader()
    others = [node for node in three.nodes if node is not leader]
    for node in others:
        node.pause()
    with leader.connect(30) as conversation:
        reply = conversation.ask(f"renew {lease}")
    assert reply.partition("@")[2].startswith("Sorry, ")
    for node in others:
        node.resume()
    assert three.ask(f"renew {lease}") == f"RENEW response: {lease} for 60 s"


def pause_for_long(scene: Scene) -> Fault:
    """SIGSTOP of one node, and SIGCONT when its leases are long over"""
    with scene.struck() as (node,):
        yield f"pause {node.name} for long"
        node.pause()
        yield scene.some(2, 8)
        node.resume()


KINDS: dict[Kind, int] = {
    faults.kill: 4, faults.pause: 4, faults.stutter: 3, faults.stop: 1, splits.split: 4,
    splits.flap: 2, pause_for_long: 3, slow_disk: 3,
}  # fmt: skip


@pytest.mark.parametrize("seed", [7])
def test_no_lease_ends_early_under_kills_pauses_and_partitions(tmp_path: Path, seed: int) -> None:
    """A lease never ends early."""
    with LinkedCluster(tmp_path, 3) as cluster:
        with_disks(cluster)
        cluster.start().wait_until_begun()
        nemesis = Nemesis(cluster, KINDS, random.Random(seed), print, at_once=1)
        nemesis.scene.haste = 0.4
        notes = window(cluster, nemesis, SLICE_S, 4)
        assert not notes.problems, notes.problems[0]
        assert notes.findings() == []
        assert late(notes) == []
        assert notes.counts["renewed"] > 0


def test_a_key_that_is_gone_while_it_is_held_is_found() -> None:
    """This tests the check itself, which must find it."""
    from raftline_testing.nemesis.holders import Hold, Look, Notes

    notes = Notes(holds=[Hold("lease-5", 1.0, 3.0)], looks=[Look(1.5, 1.6, "lease-5")])
    assert notes.findings() == []
    notes.looks = [Look(1.5, 1.6, ""), Look(0.5, 1.6, ""), Look(2.5, 3.5, "")]
    assert len(notes.findings()) == 1
    notes.looks = []
    notes.holds.append(Hold("lease-9", 2.9, 4.0))
    assert len(notes.findings()) == 1


def test_a_key_that_is_there_for_longer_than_the_bound_is_found() -> None:
    from raftline_testing.nemesis.holders import Hold, Look, Notes

    def looks(end_s: int, term: int = 4) -> list[Look]:
        """One each 0.1 s from 0.5 s on; the lease begins at 1.0 s."""
        times = [tenth / 10 for tenth in range(5, 10 * end_s)]
        return [Look(at - 0.01, at, "lease-5", 3 if at < 2 else term) for at in times]

    notes = Notes(holds=[Hold("lease-5", 1.0, 3.0, 2, 1.0)], looks=looks(5, term=3))
    assert late(notes) == []
    assert 1 < max(by_s for by_s, _, _ in lateness(notes)) < 2
    notes.looks = looks(7, term=3)
    assert "is late by 2." in late(notes)[0]
    notes.looks = looks(7)  # one change of leader since
    assert late(notes) == []
    notes.looks = looks(9)
    assert late(notes)
    notes.holds[0].is_sure = False
    assert late(notes) == []
