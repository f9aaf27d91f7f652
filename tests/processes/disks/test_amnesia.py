"""A node whose files were deleted, cut or rotted has no vote until it has caught up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.nodes.processes import eventually
from raftline_testing.runner.at_night import at_night


def _delete(node: NodeProcess) -> None:
    node.log.unlink()


def _empty(node: NodeProcess) -> None:
    node.log.write_bytes(b"")


def _shorten(node: NodeProcess) -> None:
    lines = node.log.read_bytes().splitlines(keepends=True)
    notes = [place for place, line in enumerate(lines) if line.startswith(b"# ")]
    node.log.write_bytes(b"".join(lines[: notes[0] + 1]))


def _lose_the_promise(node: NodeProcess) -> None:
    (node.folder / f"{node.name}.storage").unlink()


def _let_the_promise_rot(node: NodeProcess) -> None:
    path = node.folder / f"{node.name}.storage"
    path.write_bytes(path.read_bytes().replace(b" vote ", b" Vote "))


def _delete_both(node: NodeProcess) -> None:
    _delete(node)
    _lose_the_promise(node)


@pytest.mark.parametrize(
    "lose",
    [_delete, _lose_the_promise, *at_night(_empty, _shorten, _let_the_promise_rot, _delete_both)],
)
def test_loss_is_reported_and_the_node_catches_up_to_vote(cluster: Cluster, lose: object) -> None:
    """The loss is reported, and the node catches up before it votes."""
    eventually(lambda: all("\n# " in node.log.read_text() for node in cluster.nodes), "first syncs")
    for number in range(5):
        assert (
            cluster.ask(f"client4@set k{number} {number}")
            == f"SET response: k{number} set to {number}"
        )
    node = cluster.followers()[0]
    cluster.wait_until_equal()
    node.terminate()
    assert callable(lose)
    lose(node)
    cluster.wait_for_consoles()
    node.start()
    said = node.wait_for_line("this node rejoins without a vote until it has caught up")
    assert said.startswith(f"[!] {node.name}.")
    others = [other for other in cluster.nodes if other is not node]  # who leads may change

    def some_other_says(what: str) -> bool:
        return any(what in line for other in others for line in other.said)

    eventually(lambda: some_other_says(f"[*] {node.name} lost its memory: it catches up without"))
    node.wait_for_line(f"[*] {node.name} has caught up and votes again")
    eventually(lambda: some_other_says(f"[*] {node.name} has caught up and votes again"))
    said_it = re.compile(r" without vote [0-9]+$")
    assert any(said_it.search(line) for other in others for line in other.said)
    cluster.wait_until_equal()
    assert node.status()["recovering"] is False
    eventually(lambda: " set k4 4\n" in node.log.read_text(), "its log on its disk")
    next(other for other in others if other is cluster.leader() or node is cluster.leader()).kill()
    assert cluster.ask("client4@get k4") == "GET response: 4"


def test_without_its_log_a_node_denies_its_vote_with_the_reason(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3) as cluster:
        cluster.start().wait_until_whole()
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
                f"s3@Not this time term {term + 1} lost-memory: "
                "I lost my memory and catch up without a vote"
            )
            beat = s1.ask(f"s1@AppendEntries {term + 1}-2-{term}-[] commit 0 round 1")
            assert re.fullmatch(
                rf"s3@GiveEntriesAfterIndex 0 term {term + 1} round 1 without vote [0-9]+", beat
            )
        assert node.status()["recovering"] is True
        cluster["s2"].start()  # s2 alone can't elect: s3 has no vote
        assert cluster["s2"].ask("client4@get k") == "s2@Sorry, I know of no leader. Try again."
        cluster["s1"].start()
        assert cluster.ask("client4@get k") == "GET response: 1"
        eventually(lambda: node.status()["recovering"] is False, "the vote back")


def test_amnesia_outlives_a_restart(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3) as cluster:
        cluster.start().wait_until_whole()
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


@pytest.mark.parametrize("joins", [False, True], ids=["as it was", "to join"])
def test_node_without_a_trace_learns_of_a_history(tmp_path: Path, joins: bool) -> None:
    """A node without any files learns from the others that the cluster has entries."""
    with Cluster(tmp_path, 3) as cluster:
        cluster.start().wait_until_whole()
        cluster.ask("client4@set k 1")
        cluster.wait_until_equal()
        node = cluster.followers()[0]
        node.kill()
        for path in tmp_path.glob(f"*{node.name}.*"):
            path.unlink()
        if joins:
            node.options = ["--join", f"localhost:{cluster.leader().port}"]
        node.start()
        node.wait_for_line(f"as {node.name} can't tell whether it is new, it catches up")
        node.wait_for_line(f"[*] {node.name} has caught up and votes again")
        cluster.wait_until_equal()
        storage = tmp_path / f"{node.name}.storage"
        eventually(lambda: "state whole" in storage.read_text(), "its vote on its disk")
        cluster.leader().kill()
        assert cluster.ask("client4@get k") == "GET response: 1"


def test_a_node_of_a_fresh_cluster_that_comes_late_gets_its_vote(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3) as cluster:
        cluster["s1"].start()
        cluster["s2"].start()
        assert cluster.ask("client4@set k 1") == "SET response: k set to 1"
        late = cluster["s3"].start()
        late.wait_for_line("[*] s3 has caught up and votes again")
        cluster.leader().kill()
        assert cluster.ask("client4@get k") == "GET response: 1"


def test_acknowledged_write_survives_a_lost_log_and_leader(fast: Cluster) -> None:
    """Two nodes hold the write, and one of them loses its log; the third must not be elected
    without the write."""
    fast.ask("client4@set k 0")
    fast.wait_until_equal()
    behind = fast.followers()[1]
    behind.kill()
    assert fast.ask("client4@set k acknowledged") == "SET response: k set to acknowledged"
    leader, [forgetful] = fast.leader(), fast.followers()
    forgetful.kill()
    leader.kill()
    forgetful.log.unlink()
    behind.start()
    forgetful.start()
    reply = behind.ask("client4@get k")
    assert reply == f"{behind.name}@Sorry, I know of no leader. Try again."
    leader.start()
    assert fast.ask("client4@get k") == "GET response: acknowledged"
