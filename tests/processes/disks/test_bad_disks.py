"""Disks that refuse a write, and a time of day that jumps: what users of three nodes see."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from raftline_testing.nodes.altered import alter
from raftline_testing.nodes.cluster import STEADY, Cluster, NodeProcess
from raftline_testing.nodes.processes import eventually

EXIT_DISK = 4

# Each write to the log fails as long as the file `flag` exists.
REFUSED_WRITES = """
import os, sys
really = os.write
def write(descriptor, data):
    if os.path.exists({flag!r}) and os.path.samestat(os.fstat(descriptor), os.stat({log!r})):
        raise OSError({number}, os.strerror({number}))
    return really(descriptor, data)
os.write = write
"""
# The time of day is a day later and a day earlier in turn.
JUMPING_DAYS = """
import itertools, sys, time
days, really, really_ns = itertools.cycle((86_400, -86_400)), time.time, time.time_ns
time.time = lambda: really() + next(days)
time.time_ns = lambda: really_ns() + next(days) * 10**9
gettime, gettime_ns, of_day = time.clock_gettime, time.clock_gettime_ns, time.CLOCK_REALTIME
time.clock_gettime = lambda clock: time.time() if clock == of_day else gettime(clock)
time.clock_gettime_ns = lambda clock: time.time_ns() if clock == of_day else gettime_ns(clock)
"""


def flag_of(node: NodeProcess) -> Path:
    return node.folder / f"{node.name}.refused"


def with_disks(folder: Path, number: int) -> Cluster:
    """Return three nodes, not started yet, whose disks can refuse writes with an error."""
    cluster = Cluster(folder, 3, *STEADY)
    for node in cluster.nodes:
        alter(node, REFUSED_WRITES, flag=str(flag_of(node)), log=str(node.log), number=number)
    return cluster


def assert_stopped(node: NodeProcess, number: int) -> None:
    assert node.ended() == EXIT_DISK
    stops = [line for line in node.said if line.startswith(f"[!] {node.name} stops: ")]
    assert len(stops) == 1
    assert f": cannot write: {os.strerror(number)}. No part of it was acknowledged" in stops[0]


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_leader_with_a_refusing_disk_stops_and_others_serve(tmp_path: Path, number: int) -> None:
    """If the leader's disk refuses writes, the leader stops and the others serve."""
    with with_disks(tmp_path, number) as cluster:
        cluster.start().led_by("s1")
        assert cluster.ask("client4@set b 1") == "SET response: b set to 1"
        flag_of(cluster["s1"]).touch()
        # It was sent to the others before the disk refused it, so its outcome may be unknown.
        cluster["s1"].ask("client4@set b 2")
        assert_stopped(cluster["s1"], number)
        assert cluster.ask("client4@get b") in ("GET response: 1", "GET response: 2")
        assert cluster.ask("client4@set b 3") == "SET response: b set to 3"
        flag_of(cluster["s1"]).unlink()
        cluster["s1"].start()
        cluster.wait_until_equal()


def test_two_bad_disks_of_three_stop_the_cluster_until_mended(tmp_path: Path) -> None:
    """If the disks of two nodes of three fail, the cluster stops until one is repaired."""
    with with_disks(tmp_path, errno.EROFS) as cluster:
        cluster.start().led_by("s1")
        assert cluster.ask("client4@set b 1") == "SET response: b set to 1"
        for name in ("s2", "s3"):
            flag_of(cluster[name]).touch()
        reply = cluster["s1"].ask("client4@set b 2")
        assert reply.startswith("s1@Sorry, outcome unknown: ")
        for name in ("s2", "s3"):
            assert_stopped(cluster[name], errno.EROFS)
        assert "Sorry, " in cluster["s1"].ask("client4@get b")
        flag_of(cluster["s2"]).unlink()
        cluster["s2"].start()
        assert cluster.ask("client4@get b") in ("GET response: 1", "GET response: 2")
        assert cluster.ask("client4@set b 3") == "SET response: b set to 3"


def test_jump_of_the_clock_ends_no_lease_and_no_leadership(tmp_path: Path) -> None:
    """If the system clock jumps by a day, no lease and no leadership ends."""
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        for node in cluster.nodes:
            alter(node, JUMPING_DAYS)
        cluster.start().led_by("s1")
        assert "SETEX response" in cluster.ask("client4@setex a 3600 5")

        def leads_on() -> bool:
            """Whether one led for more than an election timeout: not where it stood still."""
            before = cluster.leader().status()
            for _ in range(4):
                cluster.wait_for_consoles()
            after = cluster.leader().status()
            return (after["name"], after["term"]) == (before["name"], before["term"])

        eventually(leads_on, "a leader that stays")
        assert cluster.ask("client4@get a") == "GET response: 5"
