"""A disk that takes its time: the cluster continues, and nothing is acknowledged too early."""

from __future__ import annotations

import contextlib
import itertools
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raftline.common.config import FAST
from raftline.raft.state import DISK_TIMEOUTS
from raftline_testing.doubles.in_process import raftline
from raftline_testing.nemesis import slow_disk
from raftline_testing.nodes.altered import alter
from raftline_testing.nodes.cluster import STEADY, Cluster, NodeProcess
from raftline_testing.nodes.processes import eventually, free_ports

# Each fdatasync waits as long as the file `flag` exists.
HELD_SYNCS = """
import os, sys, threading
really, pause = os.fdatasync, threading.Event()
def fdatasync(descriptor):
    while os.path.exists({flag!r}):
        pause.wait(0.02)
    really(descriptor)
os.fdatasync = fdatasync
"""


def flag_of(node: NodeProcess) -> Path:
    return node.folder / f"{node.name}.held"


def with_disks(folder: Path, *options: str) -> Cluster:
    """Return three nodes, not started yet, whose disks can be held."""
    cluster = Cluster(folder, 3, *options)
    for node in cluster.nodes:
        alter(node, HELD_SYNCS, flag=str(flag_of(node)))
    return cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes that serve, led by s1, whose disks can be held."""
    with with_disks(tmp_path, *STEADY) as cluster:
        cluster.start().led_by("s1")
        cluster.ask("client4@set b 0")
        cluster.wait_until_equal()
        yield cluster


@contextlib.contextmanager
def held(*nodes: NodeProcess) -> Iterator[None]:
    for node in nodes:
        flag_of(node).touch()
    try:
        yield
    finally:
        for node in nodes:
            flag_of(node).unlink()


def test_a_slow_disk_of_a_follower_delays_no_other_node(cluster: Cluster) -> None:
    leader = cluster.leader()
    with held(cluster.followers()[0]), leader.connect() as client:
        for number in range(20):
            reply = client.ask(f"client4@set b {number}")
            assert reply == f"{leader.name}@SET response: b set to {number}"
    cluster.wait_until_equal()


def leads_on(leader: NodeProcess, count: int, then: Callable[[], None] = lambda: None) -> bool:
    """Whether a node serves so many writes and reads, and leads all the while: not where it stood
    still itself."""
    before, replies = leader.status(), []
    with leader.connect() as client:
        for number in range(count):
            replies += [client.ask(f"client4@set b {number}"), client.ask("client4@get b")]
    then()
    after, name = leader.status(), leader.name
    has_led = (after["role"], after["term"]) == ("leader", before["term"])
    wanted = [(f"{name}@SET response: b set to {n}", f"{name}@GET response: {n}")
              for n in range(count)]  # fmt: skip
    assert replies == [*itertools.chain(*wanted)] or not has_led
    return has_led


def test_a_leader_with_a_stalled_disk_leads_on_and_serves(cluster: Cluster) -> None:
    def for_long() -> None:
        """Pass more than an election timeout."""
        for _ in range(4):
            cluster.wait_for_consoles()

    def with_its_disk_held() -> bool:
        leader = cluster.leader()
        with held(leader):
            return leads_on(leader, 20, for_long)

    eventually(with_its_disk_held, "a leader that stays")
    for node in cluster.nodes:
        assert eventually(lambda n=node: " set b 19\n" in n.log.read_text(), "a write at last")


def test_a_leader_whose_disk_hangs_hands_over_and_says_so(tmp_path: Path) -> None:
    with with_disks(tmp_path) as cluster:
        assert cluster.start().ask("client4@set b 0") == "SET response: b set to 0"
        cluster.wait_until_equal()
        leader, others = cluster.leader(), cluster.followers()
        with held(leader):
            assert leader.ask("client4@set b 1") == f"{leader.name}@SET response: b set to 1"

            def successor() -> NodeProcess | None:
                return next((one for one in others if one.status()["role"] == "leader"), None)

            new = eventually(successor, "another leader")
            assert new is not None
            assert new.ask("client4@get b") == f"{new.name}@GET response: 1"
            assert new.ask("client4@set b 2") == f"{new.name}@SET response: b set to 2"
            assert any(line.startswith(f"[!] The disk of {leader.name} ") for line in leader.said)
        cluster.wait_until_equal()


def test_status_names_a_follower_whose_disk_hangs_until_it_moves(tmp_path: Path) -> None:
    with with_disks(tmp_path) as cluster:
        assert cluster.start().ask("client4@set b 0") == "SET response: b set to 0"
        cluster.wait_until_equal()

        def last_line(code: int, end: str) -> bool:
            status = raftline("status", "--dir", cluster.folder)
            return status.returncode == code and status.stdout.rstrip().endswith(end)

        well = "3 of 3 voters follow; one more may fail"
        assert eventually(lambda: last_line(0, well), "three voters that follow")
        stalled = cluster.followers()[0]
        with held(stalled):
            assert cluster.ask("client4@set b 1") == "SET response: b set to 1"
            hangs = f"2 of 3 voters follow; none may fail; {stalled.name} has a disk that hangs. "
            hangs += "Replace or repair that disk."
            assert eventually(lambda: last_line(3, hangs), "a disk that is named")
        assert eventually(lambda: last_line(0, well), "three voters that follow again")


def is_behind(node: NodeProcess) -> bool:
    """Whether an entry waits for this node's disk."""
    facts = node.status()
    return bool(facts["synced_index"] < facts["last_index"])


@pytest.mark.parametrize("asked", ["leader", "follower"])
def test_reads_wait_for_no_disk_while_a_write_does(tmp_path: Path, asked: str) -> None:
    with with_disks(tmp_path, *STEADY, "--follower-reads") as cluster:
        cluster.start().led_by("s1")
        assert cluster.ask("client4@set b 0") == "SET response: b set to 0"
        cluster.wait_until_equal()
        leader, followers = cluster.leader(), cluster.followers()
        node = leader if asked == "leader" else followers[0]
        with leader.connect() as writer, held(*cluster.nodes):
            writer.send("client4@set b 1")
            for name in followers:  # it is on its way to each disk
                eventually(lambda n=name: is_behind(n), "a write under way")
            for _ in range(3):
                assert node.ask("client4@get b") == f"{node.name}@GET response: 0"
        cluster.wait_until_equal()


def test_an_entry_on_the_leaders_disk_alone_is_not_acknowledged(tmp_path: Path) -> None:
    with with_disks(tmp_path) as cluster:  # at the usual pace it is given up sooner
        assert cluster.start().ask("client4@set b 0") == "SET response: b set to 0"
        leader = cluster.leader()
        with held(*cluster.followers()):
            reply = leader.ask("client4@set b 1")
            assert reply.startswith(f"{leader.name}@Sorry, outcome unknown: ")
        assert cluster.ask("client4@get b") in ("GET response: 0", "GET response: 1")


def test_slow_disks_slow_writes_and_depose_nobody(tmp_path: Path) -> None:
    """Slow disks at two nodes slow down writes, but do not depose the leader."""
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        slow_disk.with_disks(cluster)
        cluster.start().led_by("s1")
        for node in cluster.followers():
            slow_disk.slow(node).write_text("0.2")
        eventually(lambda: leads_on(cluster.leader(), 10), "a leader that stays")


def test_two_stalled_disks_stop_writes_and_the_figures_show_it(
    tmp_path: Path,
) -> None:
    with with_disks(tmp_path) as cluster:
        doors = {node.name: next(free_ports) for node in cluster.nodes}
        for node in cluster.nodes:
            node.options += ["--http", str(doors[node.name])]
        assert cluster.start().ask("client4@set b 0") == "SET response: b set to 0"
        cluster.wait_until_equal()
        leader, stalled = cluster.leader(), cluster.followers()
        with held(*stalled):
            reply = leader.ask("client4@set b 1")
            assert reply.startswith(f"{leader.name}@Sorry, outcome unknown: ")
            assert leader.ask("client4@get b") == f"{leader.name}@GET response: 0"
            for node in stalled:
                assert under_way_s(doors[node.name]) > 0
                assert page(doors[node.name], "health") == "ok\n"  # a restart would mend nothing
        assert cluster.ask("client4@get b") in ("GET response: 0", "GET response: 1")
        assert cluster.ask("client4@set b 2") == "SET response: b set to 2"
        for node in cluster.nodes:
            eventually(lambda door=doors[node.name]: under_way_s(door) == 0, "its disk moves")


def test_two_stalled_disks_with_the_leaders_leave_reads(tmp_path: Path) -> None:
    """Neither of the two can be elected or vote, so only this leader can serve."""
    with with_disks(tmp_path) as cluster:
        doors = {node.name: next(free_ports) for node in cluster.nodes}
        for node in cluster.nodes:
            node.options += ["--http", str(doors[node.name])]
        assert cluster.start().ask("client4@set b 0") == "SET response: b set to 0"
        cluster.wait_until_equal()
        leader, other = cluster.leader(), cluster.followers()[0]
        term, long_s = (
            leader.status()["term"],
            1.5 * DISK_TIMEOUTS * FAST.election_timeout_ms / 1000,
        )
        with held(leader, other), leader.connect() as writer:
            writer.send("client4@set b 1")
            eventually(lambda: under_way_s(doors[leader.name]) > long_s, "a disk that hangs")
            assert leader.ask("client4@get b") == f"{leader.name}@GET response: 0"
            assert leader.status()["term"] == term
        assert cluster.ask("client4@set b 2") == "SET response: b set to 2"


def page(door: int, name: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{door}/{name}", timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def under_way_s(door: int) -> float:
    """Return the age of the write of a disk that is under way; 0 without one."""
    name = "raftline_fsync_under_way_seconds"
    found = re.search(rf"^{name} (\S+)$", page(door, "metrics"), re.MULTILINE)
    assert found
    return float(found[1])
