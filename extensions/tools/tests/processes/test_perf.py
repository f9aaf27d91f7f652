"""`raftline check perf`: a load on a running cluster, and a verdict."""

from __future__ import annotations

import json

import pytest

from raftline.common.interpreter import interpreter_facts
from raftline.tools.requests.perf import LOADS, Measured, as_json
from raftline_testing.doubles import in_process
from raftline_testing.nodes.cluster import Cluster
from tests.processes.typed import at

GOOD = Measured(LOADS["s"], 2.0, [0.01] * 299, [])


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        (GOOD._replace(seconds=3.0), "100 writes a second; 150 were requested"),
        (GOOD._replace(waits_s=[*GOOD.waits_s, 0.6]), "the slowest write took 0.600 s; 0.5 s is g"),
        (GOOD._replace(waits_s=[0.01, 0.4] * 150), "the standard deviation is 0.195 s; 0.1 s is g"),
        (GOOD._replace(problems=["no leader"]), "1 writes failed; the first one: no leader"),
        (GOOD._replace(waits_s=[]), "0 writes a second; 150 were requested"),
    ],
)
def test_each_thing_that_is_not_good_enough_is_named(measured: Measured, said: str) -> None:
    assert GOOD.is_good
    assert all(good for good, _ in GOOD.verdicts)
    assert not measured.is_good
    assert any(text.startswith(said) for good, text in measured.verdicts if not good)


def test_the_figures_come_as_an_object() -> None:
    figures = json.loads(as_json(GOOD._replace(waits_s=[0.01, 0.02, 0.03, 0.04])))
    assert (figures["writes_per_s"], figures["wanted_per_s"]) == (2.0, 150)
    assert [figures[name] for name in ("p50_s", "p99_s", "slowest_s")] == [0.03, 0.04, 0.04]
    assert json.loads(as_json(GOOD._replace(waits_s=[])))["p50_s"] is None


def test_a_cluster_is_put_under_load_and_left_as_it_was(three: Cluster) -> None:
    words = ("check", "perf", "--for", "0.5", "--at", at(three))
    done = in_process.raftline(*words)
    assert done.returncode in (0, 1), done.stderr  # 1: the machine is busy
    facts = interpreter_facts()
    for node in three.nodes:
        assert facts.items() <= node.status().items()
    assert [line[:4] in ("[*] ", "[!] ") for line in done.stdout.splitlines()[:4]] == [True] * 4
    named = [f"[*] the Python of {node.name} is not optim" in done.stdout for node in three.nodes]
    assert named == [facts["python_optimized"] is False] * 3
    assert "150 were requested" in done.stdout
    assert in_process.raftline("count", "--at", at(three)).stdout == "0\n"


def test_keys_that_are_there_are_not_deleted(three: Cluster) -> None:
    assert three.ask("client1@set app/a 1").endswith("a set to 1")
    done = in_process.raftline("check", "perf", "--prefix", "app/", "--at", at(three))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "raftline: --prefix app/: there is app/a, which would be deleted at the end\n"
    )
    assert in_process.raftline("get", "app/a", "--at", at(three)).stdout == "1\n"
    done = in_process.raftline("check", "perf", "--prefix", "", "--at", at(three))
    assert done.returncode == 2
    assert "--prefix: is empty, and would mean all keys" in done.stderr
