"""Validity, agreement, termination and integrity: the four properties of the course's report. In
the run a controller shuts nodes down, cuts them off and loses their messages."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from raftline.logmanager import LogManager
from raftline.raft.log import Entry
from raftline.storage.folder import Folder
from raftline_course.controller.leader_orders import numbered
from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.nodes.processes import eventually

ROUNDS = 30


@dataclass
class Run:
    """The requests, the answers, and the nodes' values at the end."""

    suggested: dict[str, str] = field(default_factory=dict)
    answered: list[str] = field(default_factory=list)
    retrieved: dict[str, dict[str, object]] = field(default_factory=dict)
    twice: str = ""  # the value of a key whose first STORE came again after its second
    logs: dict[str, list[Entry]] = field(default_factory=dict)


def trouble(cluster: Cluster, number: int) -> None:
    """Do something to the nodes before the `number`-th request."""
    orders = {
        4: "DROP 30%",
        8: "HEAL",
        10: f"PARTITION {' '.join(f's{n}' for n in range(1, 4))}",
        14: "HEAL",
        16: "SHUTDOWN",
        20: "RESTART",
        22: "TIMEOUT",
        24: "DELAY 30ms",
        27: "HEAL",
    }
    text = orders.get(number)
    if text in ("HEAL", "RESTART"):
        for node in cluster.nodes:
            tell(node, text)
    elif text:
        leader = cluster.leader()
        tell(leader, text.replace(f" {leader.name}", ""))


def tell(node: NodeProcess, text: str) -> str:
    return node.ask(f"Controller@{text}").partition("@")[2].partition("@")[2]


def store(cluster: Cluster, number: int, key: str, value: str) -> str:
    """Store a pair, once, however often it has to be asked for; return the answer."""

    def answer() -> str:
        for node in cluster.nodes:
            reply = node.ask(f"Controller#{number}@STORE {key} {value}").partition("@")[2]
            if reply.startswith("STORE response: "):
                return reply
        return ""

    return eventually(answer, f"an answer to request {number}", timeout_s=60)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder: Path = tmp_path_factory.mktemp("properties")
    found = Run()
    with Cluster(folder, 3, "--controller") as cluster:
        cluster.start().wait_until_whole()
        for number in range(1, ROUNDS + 1):
            trouble(cluster, number)
            found.suggested[f"k{number}"] = f"v{number}"
            found.answered.append(store(cluster, number, f"k{number}", f"v{number}"))
        cluster.wait_until_equal()

        def retrieved() -> str:
            reply = cluster.leader().ask("Controller@RETRIEVE").partition("@")[2]
            return reply if reply.startswith("RETRIEVE") else ""

        facts = json.loads(eventually(retrieved).partition(": ")[2])
        found.retrieved = facts["COMMITED_LOGS"]
        for number, value in ((101, "first"), (102, "second"), (101, "first")):
            store(cluster, number, "twice", value)
        found.twice = cluster.ask("get twice")
        cluster.wait_until_on_all_disks()
        cluster.kill()
    for name in ("s1", "s2", "s3"):
        manager = LogManager(name, Folder(folder), {})
        log = manager.recover().log
        manager.close()
        found.logs[name] = log.entries(1, log.last_index)
    return found


def test_validity_only_suggested_values_are_decided(run: Run) -> None:
    held = [(key, value) for one in run.retrieved.values() for key, value in one.items()]
    assert set(held) - {("term", one["term"]) for one in run.retrieved.values()} <= set(
        run.suggested.items()
    )


def test_all_nodes_hold_the_same_entries_in_order(run: Run) -> None:
    """All nodes hold the same entries in the same order."""
    committed = [(str(number), one) for number, one in numbered(run.logs["s1"]).items()]
    assert committed[: len(run.retrieved)] == list(run.retrieved.items())
    shortest = min(len(log) for log in run.logs.values())
    assert len({tuple(log[:shortest]) for log in run.logs.values()}) == 1
    assert shortest > ROUNDS


def test_termination_every_request_is_answered(run: Run) -> None:
    assert run.answered == [
        f"STORE response: k{number} set to v{number}" for number in range(1, ROUNDS + 1)
    ]


def test_answered_write_is_logged_and_applied_once(run: Run) -> None:
    """A write that was answered is in the log, and takes effect once."""
    for key, value in run.suggested.items():
        assert any(one.get(key) == value for one in run.retrieved.values()), key
    assert run.twice == "GET response: second"
    terms = [one["term"] for one in run.retrieved.values()]
    assert terms == sorted(terms, key=lambda term: int(str(term)))
