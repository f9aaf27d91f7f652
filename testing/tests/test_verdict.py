"""The verdict of the nemesis after its faults: each kind of harm is noticed, and nothing else."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import cast

import pytest

from raftline_testing.files.node_files import log_file
from raftline_testing.histories.history import Change, ClientOperation, Increment, counter_findings
from raftline_testing.nemesis import nemesis, run_nemesis, splits, verdict
from raftline_testing.nemesis.nemesis import Nemesis
from raftline_testing.nemesis.scene import Busy, Fault, Finding, Scene
from raftline_testing.nemesis.workload import MachineThread, Workload
from raftline_testing.nodes import namespaces
from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.workloads.client_history import History
from raftline_testing.workloads.journal import Append
from raftline_testing.workloads.mix import Mix
from raftline_testing.workloads.workload_machine import Steps, WorkloadMachine


def incr(number: int, called_at: float, returned_at: float | None, value: int | None) -> Increment:
    return Increment("client1", number, "n0", called_at, returned_at, value)


def test_increments_that_took_effect_once_each_are_accepted() -> None:
    known = [incr(1, 0, 1, 1), incr(2, 0, 5, 3), incr(3, 2, 3, 2)]
    assert counter_findings(known, {"n0": 3}) == []
    unknown = [*known, incr(4, 6, None, None)]
    assert counter_findings(unknown, {"n0": 3}) == []
    assert counter_findings(unknown, {"n0": 4}) == []
    assert counter_findings([], {"n0": 0}) == []


@pytest.mark.parametrize(
    ("increments", "final", "said"),
    [
        ([incr(1, 0, 1, 1), incr(2, 2, 3, 2)], 3, "n0 is 3 after 2 acknowledged increments and 0"),
        ([incr(1, 0, 1, 1), incr(2, 2, 3, 2)], 1, "n0 is 1 after 2 acknowledged increments and 0"),
        ([incr(1, 0, 1, 1), incr(2, 2, None, None)], 3, "n0 is 3 after 1 acknowledged"),
        ([incr(1, 0, 9, 1), incr(2, 0, 9, 1)], 2, "two increments of n0 got one answer"),
        ([incr(1, 2, 3, 1), incr(2, 0, 1, 2)], 2, "increments of n0 went back"),
        ([incr(1, 0, 1, 3), incr(2, 0, None, None)], 2, "n0 is 2, below an answer"),
    ],
)
def test_increments_lost_doubled_or_out_of_order_are_found(
    increments: list[Increment], final: int, said: str
) -> None:
    assert any(said in found for found in counter_findings(increments, {"n0": final}))


def test_a_client_explains_the_changes_that_may_have_happened() -> None:
    history = History("j")
    history.operations += [
        ClientOperation("client1", "get", "k", "1", 1, 2),
        ClientOperation("client1", "set", "k", "1", 3, 4),
        ClientOperation("client1", "delete", "k", None, 5, None),
        ClientOperation("client1", "delete", "k", None, 6, 7, found=False),
    ]
    history.increments += [Increment("client1", 1, "n", 8.0)]
    history.journal.appends += [Append(9.0, 10.0, "client1.1;", 10)]
    history.journal.unknown["client1.2;"] = 11.0
    assert sorted(history.changes, key=lambda one: one.called_at) == [
        Change("k", "set", 3), Change("k", "del", 5), Change("n", "set", 8.0),
        Change("j", "set", 9.0), Change("j", "set", 11.0),
    ]  # fmt: skip


class Broken(WorkloadMachine):
    def steps(self) -> Steps:
        raise ValueError("a reply of another kind")


def test_client_error_is_found_with_its_traceback() -> None:
    """A client that ends by an error is found with its traceback."""
    nodes = [cast(NodeProcess, None)]
    workload = Workload(nodes, 0, Mix(), "seed")
    workload.add(MachineThread(Broken("client1"), nodes, Mix(), "seed"))
    with pytest.raises(AssertionError) as found, workload:
        pass
    assert "ValueError: a reply of another kind" in str(found.value)
    assert "in steps\n" in str(found.value)


def test_history_of_no_single_copy_is_found_with_its_lines() -> None:
    """A history that no single copy gives is found with its lines."""
    wrote = ClientOperation("client1", "set", "b", "5", 1, 2)
    assert verdict.history_findings([wrote]) == []
    lost = ClientOperation("client2", "get", "b", None, 3, 4)
    [found] = verdict.history_findings([wrote, lost])
    assert found.startswith("the history of b is not linearizable\nclient2@get b -> no such key")


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[NodeProcess]]:
    nodes = [NodeProcess(name, 1, tmp_path / name, ()) for name in ("s1", "s2")]
    for node in nodes:
        node.folder.mkdir()
    yield nodes
    for node in nodes:
        node.close()


def test_logs_that_differ_at_a_common_index_are_found(
    nodes: list[NodeProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict, "BETWEEN_READS_S", 0.0)
    one, other = nodes
    one.log.write_bytes(log_file(b"1 1 noop\n2 1 set a 4\n"))
    base = b"1 1 base s1=localhost:1\n"
    other.log.write_bytes(log_file(b"2 1 set a 4\n3 1 set b 5\n", base=base))
    known: verdict.Log = {}
    assert verdict.log_findings(nodes, known, 9) == []
    assert sorted(known) == [1, 2, 3]
    other.log.write_bytes(log_file(b"1 1 noop\n2 1 set a 4\n3 2 noop\n"))
    assert verdict.log_findings(nodes, known, 2) == []  # entry 3 is not known to be committed
    other.log.write_bytes(log_file(b"1 1 noop\n2 1 set a 5\n"))
    [found] = verdict.log_findings(nodes, known, 9)
    assert found == "entry 2 is (1, 'set a 5') at s2, and was (1, 'set a 4') elsewhere"
    other.log.write_bytes(base + b"2 1 set a 4\n")
    assert verdict.log_findings(nodes, {}, 9) == ["s2.log ends in 12 bytes of an incomplete batch"]


def test_states_that_differ_are_found(
    nodes: list[NodeProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = {"s1": {"w1.a": "4"}, "s2": {"w1.a": "4"}}
    monkeypatch.setattr(
        NodeProcess,
        "ask",
        lambda node, _: f"{node.name}@SHOW response: {json.dumps(held[node.name])}",
    )
    assert verdict.state_findings(nodes, "w1.") == []
    held["s2"]["w1.a"] = "5"
    [found] = verdict.state_findings(nodes, "w1.")
    assert found.startswith("s1 and s2 hold different states: ")


def test_two_leaders_of_one_term_are_found() -> None:
    leaders = verdict.Leaders()
    assert leaders.findings([{"role": "leader", "term": 4, "name": "s1"}, {}]) == []
    assert leaders.findings([{"role": "leader", "term": 5, "name": "s2"}]) == []
    [found] = leaders.findings([{"role": "leader", "term": 4, "name": "s3"}])
    assert found == "s1 and s3 both lead term 4"


def test_a_traceback_on_a_console_is_found(nodes: list[NodeProcess]) -> None:
    said = ["[*] all is well", "Traceback (most recent call last):"]
    assert verdict.console_findings(nodes[0], said) == [f"s1 said: {said[1]}"]


# --- the nemesis itself ---------------------------------------------------------------------


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Cluster(tmp_path, 5) as cluster:
        yield Scene(cluster, random.Random(1), lambda _: None)


def test_at_most_a_minority_loses_files_at_any_time(scene: Scene) -> None:
    one, two, three, *_ = scene.cluster.nodes
    with scene.losing_files(one), scene.losing_files(two):
        with pytest.raises(Busy), scene.losing_files(three):
            pass
        with pytest.raises(Busy), scene.changing_members():
            pass
    with scene.changing_members(), pytest.raises(Busy), scene.losing_files(one):
        pass
    with scene.losing_files(three):
        assert scene.damaged == {"s3"}


def short(scene: Scene) -> Fault:
    yield "short"
    yield 0.0


def endless(scene: Scene) -> Fault:
    yield "endless"
    while True:
        yield 0.0


def test_each_kind_of_fault_occurs_before_any_repeats(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nemesis, "BETWEEN_S", 1e-9)
    monkeypatch.setattr(Nemesis, "check_processes", lambda _: None)
    striking = Nemesis(scene.cluster, {short: 1000, endless: 1}, random.Random(1), print, 9)
    while striking.faults.total() < 2:
        striking.turn()
    assert striking.faults == {"short": 1, "endless": 1}


def test_a_fault_that_never_ends_is_a_finding(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nemesis, "HEAL_S", 0.1)
    monkeypatch.setattr(Nemesis, "check_processes", lambda _: None)
    striking = Nemesis(scene.cluster, {endless: 1}, random.Random(1), print, 1)
    striking.turn()
    assert striking.now == "endless"
    with pytest.raises(Finding, match=r"not healed after 0\.1 s: endless"):
        striking.heal()


def test_a_node_that_ends_by_itself_is_a_finding(scene: Scene) -> None:
    striking = Nemesis(scene.cluster, {short: 1}, random.Random(1), print, 1)
    node = scene.cluster["s1"]
    with striking.scene.claim("s2", "s3", "s4", "s5"):
        node.program = ["false"]
        node.launch().ended()
        with pytest.raises(Finding, match="s1 ended, status 1"):
            striking.turn()


def test_without_namespaces_a_campaign_names_the_omitted_faults(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(namespaces, "TOOLS", ("no-such-tool",))
    arguments = ["run_nemesis.py", "--network", "namespaces", "--report", str(tmp_path / "r.md")]
    monkeypatch.setattr(sys, "argv", arguments)
    assert run_nemesis.main() == 2
    [said] = capsys.readouterr().out.splitlines()
    assert said.startswith("No namespaces here (not installed: no-such-tool): ")
    assert "As root" in said


def test_node_killed_from_outside_is_restarted_and_counted(scene: Scene) -> None:
    """A node killed by another process is restarted and counted."""
    striking = Nemesis(scene.cluster, {short: 1}, random.Random(1), print, 1)
    node = scene.cluster["s1"].start()
    assert node.process is not None
    with striking.scene.claim("s2", "s3", "s4", "s5"):
        node.process.kill()
        node.process.wait()
        striking.check_processes()
        assert striking.now == "another process killed s1"
        striking.heal()
    assert node.is_running
    assert striking.faults["killed"] == 1


def test_each_partition_cuts_the_links_of_its_name(scene: Scene) -> None:
    names = ["s1", "s2", "s3", "s4", "s5"]
    scene.leader = "s2"
    others = {"s1", "s3", "s4", "s5"}
    assert splits.deaf_leader(scene, names) == {(other, "s2") for other in others}
    assert splits.mute_leader(scene, names) == {("s2", other) for other in others}
    lone = splits.lone_leader(scene, names)
    assert lone == splits.deaf_leader(scene, names) | splits.mute_leader(scene, names)
    left = set(permutations(names, 2)) - splits.ring(scene, names)
    assert all(sum(one == name for one, _ in left) == 2 for name in names)
    crossed = splits.bridge(scene, names)
    middle = [name for name in names if not any(name in pair for pair in crossed)]
    assert len(middle) == 1
    assert len(crossed) == 8
