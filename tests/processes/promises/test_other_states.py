"""Limits: which differences between the states of nodes are noticed, and who decides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline_testing.doubles.in_process import raftline
from raftline_testing.nodes.altered import err
from raftline_testing.nodes.cluster import STEADY, Cluster
from raftline_testing.nodes.edited_entry import edit_entry
from raftline_testing.nodes.machines import wipe
from raftline_testing.nodes.processes import eventually
from tests.processes.disks.compacting import COMPACT_AT, compacted, write


class Erring(Cluster):
    """Three nodes, led by s1; each sets wrong values while its flag exists."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder, 3, *STEADY, "--compact-at", str(COMPACT_AT), *options)
        for node in self.nodes:
            err(node, self.flag(node.name))

    def flag(self, name: str) -> Path:
        return self.folder / f"{name} errs"

    def set_wrongly(self, key: str, *names: str) -> None:
        """Set a key; these nodes get another value of it. Everybody has applied it then."""
        for name in names:
            self.flag(name).touch()
        assert self.ask(f"set {key} right") == f"SET response: {key} set to right"
        self.wait_until_equal()
        for name in names:
            self.flag(name).unlink()
        for node in self.nodes:
            value = "wrong" if node.name in names else "right"
            assert node.ask(f"get {key} read local") == f"{node.name}@GET response: {value}"

    def sum(self) -> None:
        """Make every node sum its state."""
        index = self.ask("sum").partition(": ")[2]
        for node in self.nodes:
            eventually(lambda node=node: index in node.status()["state_sums"], f"sum {index}")

    def compare(self) -> None:
        """Make the leader hear the sums of both others: a read takes the answer of one of them, and
        meanwhile the other one stands still."""
        first, *others = self.nodes
        for node in others:
            node.pause()
            assert "GET response" in first.ask("get a"), first.transcript()
            node.resume()

    @property
    def verdicts(self) -> tuple[set[str], set[str]]:
        """The nodes that are condemned, and those that differ while no quorum decides."""
        facts = self["s1"].status()
        assert facts["role"] == "leader"
        return {*facts["differs"]}, {*facts["undecided"]}


@pytest.fixture
def erring(tmp_path: Path) -> Iterator[Erring]:
    with Erring(tmp_path) as cluster:
        yield cluster.start().led_by("s1")


def test_a_wrong_state_is_noticed_at_the_next_sum(erring: Erring) -> None:
    """Between two sums of the state, only a difference in the entries is noticed."""
    erring.set_wrongly("a", "s3")
    erring.set_wrongly("b")
    erring.compare()
    assert erring.verdicts == (set(), set())
    erring.wait_until_on_all_disks()
    edit_entry(erring["s2"], b" set b right\n", b" set b wrong\n")
    erring["s2"].wait_for_line("[!] s2 differs from its leader s1: the entries that it applied")
    assert erring.verdicts == ({"s2"}, set())
    erring.sum()
    eventually(lambda: erring.verdicts == ({"s2"}, {"s3"}), "the difference of s3")


def test_a_state_from_a_snapshot_is_not_a_witness(erring: Erring) -> None:
    """A node whose state came by a snapshot decides nothing about an older difference until all
    voters have had equal sums since: a wrong leader may have sent it."""
    erring.set_wrongly("a", "s1")
    write(erring, 0, 400)
    compacted(erring["s1"], beyond=10)
    third = erring["s3"]
    third.kill()
    wipe(third)
    third.start().wait_for_line("[*] s3 installs the snapshot of s1")
    erring.wait_until_whole()
    assert third.ask("get a read local") == "s3@GET response: wrong"
    erring.sum()
    erring.compare()
    assert erring.verdicts == (set(), {"s2"})
    erring.set_wrongly("a")
    erring.sum()
    erring.compare()
    erring.set_wrongly("b", "s2")
    erring.sum()
    erring["s2"].wait_for_line("[!] s2 differs from its leader s1: its state after entry")


def test_a_wrong_majority_condemns_the_right_node(erring: Erring) -> None:
    """If a majority has the same wrong state, the node that is right is condemned: check that
    key."""
    erring.set_wrongly("a", "s1", "s3")
    erring.sum()
    erring["s2"].wait_for_line("[!] s2 differs from its leader s1: its state after entry")
    refused = erring["s2"].ask("get a read local")
    assert "differs from that of the others" in refused
    assert erring.ask("get a") == "GET response: wrong"
    done = raftline("check", "replicas", "--dir", erring.folder)
    assert done.returncode == 1, done.stderr
    assert "[!] s2 differs from s1 after entry " in done.stdout
    assert "; the first key is a\n" in done.stdout


def test_at_the_floor_nothing_is_compared(tmp_path: Path) -> None:
    """At the floor nothing is compared."""
    with Erring(tmp_path, "--floor") as erring:
        erring.start().led_by("s1")
        erring.set_wrongly("a", "s3")
        erring.set_wrongly("b")
        erring.wait_until_on_all_disks()
        edit_entry(erring["s2"], b" set b right\n", b" set b wrong\n")
        write(erring, 0, 1024)
        erring.wait_until_equal()
        erring.compare()
        assert erring.verdicts == (set(), set())
        for name, key in (("s2", "b"), ("s3", "a")):
            reply = erring[name].ask(f"get {key} read local")
            assert reply == f"{name}@GET response: wrong"
        assert "this cluster is at the floor" in erring.ask("sum")
