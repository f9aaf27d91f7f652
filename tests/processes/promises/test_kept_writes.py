"""Promises and limits: which losses of disks and power an acknowledged write survives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline_testing.doubles.in_process import raftline
from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.nodes.machines import Machines, begins_nothing, wipe
from raftline_testing.nodes.power import cut_power, watch_power
from raftline_testing.nodes.processes import eventually

PRECIOUS = "GET response: precious"


def set_precious(machines: Machines) -> None:
    assert machines.ask("set a precious") == "SET response: a set to precious"


@pytest.mark.parametrize(
    "lost", [("s1",), ("s2",), ("s3",), ("s1", "s2"), ("s3", "s5")], ids=" ".join
)
def test_a_write_survives_a_power_cut_and_lost_disks(tmp_path: Path, lost: tuple[str, ...]) -> None:
    """An acknowledged write is on the disks of a majority: it survives the loss of any minority,
    and a power cut of all nodes."""
    with Machines(tmp_path, 2 * len(lost) + 1) as machines:
        for node in machines.nodes:
            watch_power(node)
        machines.start().wait_until_whole()
        leader = machines.leader()
        others = [node for node in machines.nodes if node is not leader and node.name not in lost]
        for node in others[: len(lost)]:
            node.pause()  # these never hear of the write
        set_precious(machines)
        cut_power(*machines.nodes)
        wipe(*(machines[name] for name in lost))
        machines.start()
        assert machines.ask("get a") == PRECIOUS
        machines.wait_until_whole()


def test_lost_disks_of_a_cluster_that_grew(tmp_path: Path) -> None:
    """An acknowledged write is on the disks of a majority: it survives the loss of any minority,
    and a power cut of all nodes."""
    with Machines(tmp_path, 3) as machines:
        machines.start().wait_until_whole()
        machines.join()
        machines.join()
        set_precious(machines)
        machines.wait_until_equal()
        machines.kill()
        first, second, third, *later = machines.nodes
        wipe(second, third)  # their configuration still names the members of the first day
        for node in (second, third, *later):
            node.start()
        for node in (second, third):
            node.wait_for_line("can't tell whether it is new, it catches up without a vote")
        for node in later:
            node.wait_for_line("have no vote, since they may be new or may have lost everything")
        first.start()
        assert machines.ask("get a") == PRECIOUS
        machines.wait_until_whole()


def test_lost_disk_of_a_node_that_was_alone(tmp_path: Path) -> None:
    """An acknowledged write is on the disks of a majority: it survives the loss of any minority,
    and a power cut of all nodes."""
    with Machines(tmp_path, 1) as machines:
        first = machines["s1"]
        first.start()
        at = machines.address(first)
        assert raftline("begin", "--at", at).returncode == 0
        machines.join()
        machines.join()
        set_precious(machines)
        first.kill()
        wipe(first)  # its configuration still names it alone
        first.start()
        first.wait_for_line("s1 has caught up and votes again")
        assert machines.ask("get a") == PRECIOUS
        assert "[*] I am Leader" not in first.said


def test_lost_disk_next_to_a_node_that_heard_nothing(tmp_path: Path) -> None:
    """An acknowledged write is on the disks of a majority: it survives the loss of any minority,
    and a power cut of all nodes."""
    with Machines(tmp_path, 3) as machines:
        first, second, third = machines.nodes
        third.start()
        begins_nothing(third)
        third.kill()
        first.start()
        second.start()
        begins_nothing(first, second)
        done = raftline("begin", "--without", "s3", "--at", machines.address(first))
        assert done.returncode == 0, done.stderr
        set_precious(machines)
        machines.wait_until_equal()
        machines.kill()
        wipe(second)
        second.start()
        third.start()
        begins_nothing(second, third)
        first.start()
        for node in (second, third):
            node.wait_for_line("s1 has entries: as ")
        third.kill()
        third.start("--new")
        assert machines.ask("get a") == PRECIOUS
        machines.wait_until_whole()


def cut(node: NodeProcess) -> None:
    """Cut the log of a stopped node at the end of a line, with all after its first sync."""
    lines = node.log.read_bytes().splitlines(keepends=True)
    synced = next(number for number, line in enumerate(lines) if line.startswith(b"# "))
    assert len(lines) > synced + 1
    node.log.write_bytes(b"".join(lines[: synced + 1]))


def test_a_cut_log_is_noticed_unless_power_was_lost(tmp_path: Path) -> None:
    """If a log is cut at the end of a line and the machine loses power, the loss may go
    unnoticed."""
    with Machines(tmp_path, 3) as machines:
        for node in machines.nodes:
            watch_power(node)
        machines.start().wait_until_whole()
        set_precious(machines)
        machines.wait_until_on_all_disks()
        first, second, _ = machines.nodes
        machines.kill()
        cut(first)
        first.start()
        assert first.status()["recovering"] is True
        cut_power(second)
        cut(second)
        second.start()
        assert second.status()["recovering"] is False
        assert "precious" not in second.log.read_text()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[NodeProcess]:
    """The only member of a cluster, stopped, with a write in its log."""
    with Cluster(tmp_path, 1) as cluster:
        assert cluster.start().ask("set a precious") == "SET response: a set to precious"
        cluster.kill()
        yield cluster["s1"]


@pytest.mark.parametrize("lost", ["s1.storage", "s1.log", "both"])
def test_the_only_member_refuses_to_start(alone: NodeProcess, lost: str) -> None:
    """The only member of a cluster can't catch up, and refuses to start: use `raftline recover`, if
    there is more than `.NAME.born`."""
    for name in ("s1.storage", "s1.log") if lost == "both" else (lost,):
        (alone.folder / name).unlink()
    assert alone.launch().ended() == 3
    alone.wait_for_line("is the only member: there is no node to catch up from")
    done = raftline("recover", "s1", "--yes", "--dir", alone.folder)
    assert (done.returncode == 0) is (lost != "both"), done.stderr
    if lost == "both":
        assert alone.launch().ended() == 3
    else:
        alone.start()
        text = PRECIOUS if lost == "s1.storage" else "GET response, no such key: a"
        eventually(lambda: alone.ask("get a") == f"s1@{text}", text)


def test_logs_by_hand_are_accepted_as_they_are(tmp_path: Path) -> None:
    """Logs written by hand are accepted as they are: an index and a term must stand for the same
    command in all of them."""
    with Cluster(tmp_path, 3) as cluster:
        first, second, third = cluster.nodes
        # Nobody votes for s1, whose log is shorter than both of the others (paper, section 5.4.1).
        first.log.write_text("0 1 set a 4\n")
        for node in (second, third):
            node.log.write_text("0 1 set a 5\n1 1 set b 1\n")
        cluster.start()
        cluster.wait_until_equal()
        local = [node.ask("show read local").partition(": ")[2] for node in (first, second, third)]
        assert local == ['{"a": "4", "b": "1"}', '{"a": "5", "b": "1"}', '{"a": "5", "b": "1"}']
