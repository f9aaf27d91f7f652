"""A node whose log was deleted or cut comes back without a vote until it has caught up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.node import Node
from tests.e2e.wire import eventually


def _delete(node: Node) -> None:
    node.log.unlink()


def _empty(node: Node) -> None:
    node.log.write_bytes(b"")


def _shorten(node: Node) -> None:
    lines = node.log.read_bytes().splitlines(keepends=True)
    notes = [place for place, line in enumerate(lines) if line.startswith(b"# ")]
    node.log.write_bytes(b"".join(lines[: notes[0] + 1]))


# seed 003-15, mistake 20, fault F9
@pytest.mark.parametrize("lose", [_delete, _empty, _shorten])
def test_a_lost_log_is_said_and_the_node_catches_up_before_it_votes(
    cluster: Cluster, lose: object
) -> None:
    for number in range(5):
        assert (
            cluster.ask(f"client4@set k{number} {number}")
            == f"SET response: k{number} set to {number}"
        )
    node = cluster.followers()[0]
    leader = cluster.leader()
    cluster.wait_until_equal()
    node.terminate()
    assert callable(lose)
    lose(node)
    cluster.breathe()
    node.start()
    said = node.wait_for_line("this node rejoins without a vote until it has caught up")
    assert said.startswith(f"[!] {node.name}.log ")
    leader.wait_for_line(f"[*] {node.name} lost its log: it catches up without a vote")
    node.wait_for_line(f"[*] {node.name} has caught up and votes again")
    leader.wait_for_line(f"[*] {node.name} has caught up and votes again")
    assert any(line.endswith(" without vote") for line in leader.said)
    cluster.wait_until_equal()
    assert node.status()["recovering"] is False
    assert " set k4 4\n" in node.log.read_text()
    leader.kill()  # now its vote is needed
    assert cluster.ask("client4@get k4") == "GET response: 4"


# mistake 20
def test_without_its_log_a_node_gives_no_vote_and_says_why(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3) as cluster:
        cluster.start()
        cluster.ask("client4@set k 1")
        cluster.wait_until_equal()
        node = cluster["s3"]
        for each in cluster.nodes:
            each.terminate()
        node.log.unlink()
        node.start()
        term = int(node.wait_for_line("[*] Current term: ").rpartition(" ")[2])
        with node.connect() as s1:
            refusal = s1.ask(f"s1@RequestVote {term + 1}-99-{term}")
            assert refusal == (
                f"s3@Not this time term {term + 1}: I lost my log and catch up without a vote"
            )
            beat = s1.ask(f"s1@AppendEntries {term + 1}-2-{term}-[] commit 0 round 1")
            assert beat == f"s3@GiveEntriesAfterIndex 0 term {term + 1} round 1 without vote"
        assert node.status()["recovering"] is True
        cluster["s2"].start()  # s2 alone can't elect: s3 has no vote
        assert cluster["s2"].ask("client4@get k") == "s2@Sorry, I know of no leader. Try again."
        cluster["s1"].start()
        assert cluster.ask("client4@get k") == "GET response: 1"
        eventually(lambda: node.status()["recovering"] is False, "the vote back")


# mistake 20
def test_amnesia_outlives_a_restart(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3) as cluster:
        cluster.start()
        cluster.ask("client4@set k 1")
        cluster.wait_until_equal()
        cluster.kill()
        node = cluster["s1"]
        node.log.unlink()
        for _ in range(2):
            node.start()
            assert node.status()["recovering"] is True
            node.kill()
        assert re.search(r" state amnesiac ", (tmp_path / "s1.storage").read_text())


# fault F9
def test_an_acknowledged_write_survives_a_lost_log_and_a_lost_leader(cluster: Cluster) -> None:
    """Two hold the write; one of them forgets; the third must not be elected without it."""
    cluster.ask("client4@set k 0")
    cluster.wait_until_equal()
    leader = cluster.leader()
    forgetful, behind = cluster.followers()
    behind.kill()
    assert (
        leader.ask("client4@set k acknowledged")
        == f"{leader.name}@SET response: k set to acknowledged"
    )
    forgetful.kill()
    leader.kill()
    forgetful.log.unlink()
    behind.start()
    forgetful.start()
    reply = behind.ask("client4@get k")
    assert reply == f"{behind.name}@Sorry, I know of no leader. Try again."
    leader.start()
    assert cluster.ask("client4@get k") == "GET response: acknowledged"
