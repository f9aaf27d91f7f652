"""Reads by a round, under a lease, from the log, from a node's own state, and at followers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline.storage.folder import Folder
from raftline.storage.hard_state import HardStateFile
from raftline_testing.nodes.cluster import STEADY, Cluster
from raftline_testing.nodes.processes import eventually


@pytest.fixture(scope="module")
def leasing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes that read under leases, also at followers."""
    folder = tmp_path_factory.mktemp("leasing")
    with Cluster(folder, 3, "--reads", "lease", "--follower-reads", *STEADY) as cluster:
        yield cluster.start().led_by("s1")


@pytest.mark.parametrize("mode", ["index", "lease", "log", "local"])
def test_a_leader_answers_every_way_to_read(shared: Cluster, mode: str) -> None:
    shared.ask("client4@set b 5")
    assert shared.ask(f"client4@get b read {mode}") == "GET response: 5"
    assert shared.ask(f"client4@get c read {mode}") == "GET response, no such key: c"


def test_only_a_read_by_the_log_is_in_the_log(shared: Cluster) -> None:
    before = shared.leader().log.read_text().count(" get key-of-this-test\n")
    for mode in ("index", "lease", "local", "log"):
        shared.ask(f"client4@get key-of-this-test read {mode}")
    log = shared.leader().log
    eventually(lambda: log.read_text().count(" get key-of-this-test\n") == before + 1)
    assert log.read_text().count("key-of-this-test") == before + 1


def test_reads_log_logs_each_get_as_the_course_program(tmp_path: Path) -> None:
    """With `--reads log`, each get is logged, as in the course program."""
    with Cluster(tmp_path, 3, "--reads", "log", *STEADY) as cluster:
        cluster.start().led_by("s1")
        cluster.ask("client4@set b 5")
        assert cluster.ask("client4@get b") == "GET response: 5"
        assert cluster.ask("client4@get b read index") == "GET response: 5"
        assert cluster.ask("client4@show") == 'SHOW response: {"b": "5"}'
        log = cluster.leader().log
        eventually(lambda: " get b\n" in log.read_text(), "the get in the log")
        lines = [line for line in log.read_text().splitlines() if "#" not in line]
        commands = [line.split(" ", 2)[2] for line in lines[1:]]
        own = ("noop", "cluster ", "members ")  # a fence names the members, if one began late
        assert [each for each in commands if not each.startswith(own)] == ["set b 5", "get b"]


def test_follower_forwards_reads_unless_asked_for_read_index(shared: Cluster) -> None:
    """A follower redirects a read to the leader, unless the request asks for ReadIndex."""
    shared.ask("client4@set b 6")
    leader, follower = shared.leader(), shared.followers()[0]
    sorry = (
        f"{follower.name}@Sorry, I am not the leader. "
        f"Last leader I heard from is: {leader.name} (localhost:{leader.port})"
    )
    with follower.connect() as client:
        assert client.ask("client4@get b") == sorry
        assert client.ask("client4@get b read index") == f"{follower.name}@GET response: 6"
        assert client.ask("client4@get b read lease") == sorry
        assert client.ask("client4@get b read log") == sorry
        assert client.ask("client4@show b read index").startswith(
            f'{follower.name}@SHOW response: {{"b": "6"'
        )


def test_follower_read_is_never_older_than_an_acked_write(shared: Cluster) -> None:
    """A read at a follower sees every write acknowledged before."""
    leader, followers = shared.leader(), shared.followers()
    with leader.connect() as writer, followers[0].connect() as one, followers[1].connect() as other:
        for number in range(50):
            assert writer.ask(f"client4@set n {number}").endswith(f"n set to {number}")
            for reader in (one, other):
                assert reader.ask("client5@get n read index").endswith(f"GET response: {number}")


def test_one_connection_keeps_order_across_kinds_of_requests(shared: Cluster) -> None:
    """Replies to requests of several kinds on one connection keep their order."""
    with shared.leader().connect() as client:
        client.send(
            "c@set o 1",
            "c@get o read lease",
            "c@set o 2",
            "c@get o read local",
            "c@get o read log",
            "c@get o read index",
            "c@delete o",
            "c@get o read local",
        )
        replies = [line.partition("@")[2] for line in client.read_lines(8)]
    assert replies == [
        "SET response: o set to 1",
        "GET response: 1",
        "SET response: o set to 2",
        "GET response: 2",
        "GET response: 2",
        "GET response: 2",
        "DELETE response: o deleted",
        "GET response, no such key: o",
    ]


def test_follower_reads_are_answered_without_the_leader_name(leasing: Cluster) -> None:
    """A node with follower reads serves a get by itself, without naming the leader."""
    leasing.ask("client4@set b 7")
    for node in leasing.followers():
        assert node.ask("client4@get b") == f"{node.name}@GET response: 7"
        assert node.ask("client4@set b 8").startswith(f"{node.name}@Sorry, I am not the leader.")


def test_under_a_lease_reads_need_no_round(leasing: Cluster) -> None:
    leader = leasing.leader()
    eventually(lambda: leader.status()["lease_ms"] > 0, "a lease")
    assert leader.status()["reads"] == "lease"
    for node in leasing.followers():
        assert node.status()["lease_ms"] == 0
    others = leasing.followers()

    def is_served() -> bool:
        """Whether a read is, though nobody answers; not where all stood still until it ended."""
        assert leasing.ask("client4@set b 9") == "SET response: b set to 9"
        with leasing.leader().connect() as client:
            for node in others:
                node.pause()
            try:
                # The promises of a moment ago still run; a round would wait for its answers.
                reply = client.ask("client4@get b").partition("@")[2]
            finally:
                for node in others:
                    node.resume()
        assert reply == "GET response: 9" or reply.startswith("Sorry, ")
        return reply == "GET response: 9"

    eventually(is_served, "a read without a round")


def test_a_leader_paused_beyond_its_lease_serves_no_old_value(leasing: Cluster) -> None:
    leasing.ask("client4@set b old")
    stale = leasing.leader()
    with stale.connect() as client:
        assert client.ask("client4@get b") == f"{stale.name}@GET response: old"
        stale.pause()
        leasing.leader()
        assert leasing.ask("client4@set b new") == "SET response: b set to new"
        client.send("client4@get b")
        stale.resume()
        assert not client.read_line().endswith("GET response: old")


def test_a_node_alone_answers_local_reads_only(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3) as cluster:
        cluster.start()
        cluster.ask("client4@set b 5")
        cluster.wait_until_equal()
        alone = cluster.followers()[0]
        for node in cluster.nodes:
            if node is not alone:
                node.kill()
        assert alone.ask("client4@get b read local") == f"{alone.name}@GET response: 5"
        reply = alone.ask("client4@get b read index")
        assert reply == f"{alone.name}@Sorry, I know of no leader. Try again."


def test_a_node_reports_a_promise_longer_than_its_pace(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1) as cluster:
        node = cluster.start()["s1"]
        node.terminate()
        storage = HardStateFile(Folder(cluster.folder), "s1")
        promise = storage.load()
        assert promise is not None
        storage.save(promise._replace(lease_ms=10_000))  # as `--pace human --reads lease` writes it
        node.launch().wait_for_line("s1 may have promised its vote to a leader for 10 s at another")
        node.kill()
        storage.save(promise._replace(lease_ms=500))
        node.start().wait_for_line("I am Leader")
        assert not [line for line in node.said if "promised" in line]
