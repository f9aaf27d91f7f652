"""First starts: when a fresh cluster elects, when it waits, what it says and what ends that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline_testing.doubles.in_process import raftline
from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.nodes.processes import eventually

BY_HAND = "0 1 set a 4\n1 1 set b 30\n2 1 delete b\n3 2 set c 5\n"
ENTRY = '{"index": 1, "term": 1, "command": "set a 4"}'
UNSURE = "may be new or may have lost everything"
WAYS = (
    "when one that never ran before is started once with --new (had it run, writes that no other "
    "disk holds would be lost), or by `raftline recover` (docs/repair.md)"
)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes that never ran."""
    with Cluster(tmp_path, 3) as cluster:
        yield cluster


def test_hand_written_log_wins_the_first_election(cluster: Cluster) -> None:
    """The node whose folder has a hand-written log wins the first election."""
    cluster["s1"].log.write_text(BY_HAND)
    cluster["s1"].start().wait_for_line("asking for PreVotes for term 3")
    cluster.start().wait_until_whole()
    cluster["s1"].wait_for_line("[*] I am Leader")
    for node in cluster.nodes:
        assert node.ask("client4@get a read local") == f"{node.name}@GET response: 4"
    cluster["s1"].kill()  # the others hold what it brought
    assert cluster.ask("client4@show") == 'SHOW response: {"a": "4", "c": "5"}'


def test_hand_written_log_wins_nothing_against_entries(cluster: Cluster) -> None:
    """In a cluster that has entries, a hand-written log wins no election."""
    cluster["s1"].start()
    cluster["s2"].start()
    assert cluster.ask("client4@set a 1") == "SET response: a set to 1"
    cluster["s3"].log.write_text(BY_HAND)
    cluster["s3"].start().wait_for_line("s3 has a log written by hand, which is set aside")
    cluster.wait_until_whole()
    for node in cluster.nodes:  # entries of one index and term, by hand and of the cluster
        assert node.ask("client4@show read local") == f'{node.name}@SHOW response: {{"a": "1"}}'
    assert (cluster.folder / "s3.log.seed").read_text() == BY_HAND


def test_stranger_without_history_moves_no_fresh_node(cluster: Cluster) -> None:
    for name in ("s1", "s2"):
        node = cluster[name].start()
        for said in ("PreVote 2-0-0", "RequestVote 2-9-1 newborn", "PreVote 1-0-0 without s1 s3"):
            assert node.ask(f"s9@{said}").startswith(f"{name}@Sorry, s9 is not a peer of {name}")
    assert cluster.ask("client4@get a") == "GET response, no such key: a"
    cluster.start().wait_until_whole()


@pytest.mark.parametrize("said", ["PreVote 2-9-1", f"AppendEntries 1-0-0-[{ENTRY}]"])
def test_fresh_node_believes_a_stranger_with_history(cluster: Cluster, said: str) -> None:
    """Its members may have changed since its configuration was written. If the stranger lied, the
    node is started once with `--new`."""
    node = cluster["s1"].start()
    with node.connect() as stranger:
        stranger.send(f"s9@{said}")
        node.wait_for_line("[*] s1 has no files and s9 has entries: as s1 can't tell")
    assert node.status()["may_be_new"]
    node.kill()
    node.start("--new")
    cluster.start().wait_until_whole()


def with_an_entry(node: NodeProcess) -> NodeProcess:
    """Elect a person who speaks as s2 by a lone fresh s1 and give it an entry."""
    node.start("--new")  # else it would look for members with entries first
    assert node.ask_as_peer("s2@RequestVote 1-0-0") == "s1@Count on me term 1"
    reply = node.ask_as_peer(f"s2@AppendEntries 1-0-0-[{ENTRY}] commit 1 round 1")
    assert reply == "s1@I am up to date term 1 index 1 round 1"
    return node


def test_fresh_nodes_next_to_an_entry_wait_and_report_why(cluster: Cluster) -> None:
    """If one node has an entry, new nodes wait for it and report why."""
    first = with_an_entry(cluster["s1"])
    cluster.start()
    why = f"s2 and s3 have no vote, since they {UNSURE}. This ends {WAYS}"
    first.wait_for_line(f"[!] No leader is heard: {why}")
    eventually(lambda: first.status()["no_leader_because"] == why, "both are named")
    refusal = f"s1@Sorry, I know of no leader. Try again. {why}"
    eventually(lambda: first.ask("client4@get a") == refusal, refusal)
    for name in ("s2", "s3"):
        its = f"{name} has no vote, since it {UNSURE}. This ends when a leader is elected without "
        its += "it and reaches it at the address that `raftline member` shows"
        cluster[name].wait_for_line(f"[!] No leader is heard: {its}, or {WAYS}")
        facts = cluster[name].status()
        assert (facts["recovering"], facts["may_be_new"]) == (True, True)
        assert cluster[name].ask("client4@set a 1").startswith(f"{name}@Sorry, I know of no leader")
        assert "lost its memory" not in cluster[name].transcript()
    # The way out: one that never ran before, started once with --new.
    second = cluster["s2"]
    second.kill()
    second.start("--new").wait_for_line("[*] s2 votes at once: it never ran before (--new)")
    cluster.wait_until_whole()
    assert cluster.ask("client4@get a") == "GET response: 4"
    cluster["s3"].wait_for_line("[*] s3 has caught up and votes again")
    assert first.status()["no_leader_because"] == ""
    second.kill()  # the word counts once: what it has promised since is on its disk
    assert second.launch("--new").ended() == 3
    second.wait_for_line(
        "[!] --new says that s2 never ran before, but it has begun here before. "
        "Start it without --new"
    )
    second.start()


@pytest.fixture
def waiting(cluster: Cluster) -> Cluster:
    """s1 and s2 wrote, s2 is down, s3 starts for the first time."""
    cluster["s1"].start()
    cluster["s2"].start()
    assert cluster.ask("client4@set a 4") == "SET response: a set to 4"
    cluster.wait_until_equal()
    cluster["s1"].kill()
    cluster["s2"].kill()
    cluster["s1"].start()
    cluster["s3"].start()
    why = f"s3 has no vote, since it {UNSURE}. This ends when s2 answers, or {WAYS}"
    cluster["s1"].wait_for_line(f"[!] No leader is heard: {why}")
    eventually(lambda: cluster["s1"].status()["no_leader_because"] == why, "s2 is missing")
    return cluster


def check_serves(cluster: Cluster) -> None:
    """Look whether the write of before is there, and the late node has a vote."""
    assert cluster.ask("client4@get a") == "GET response: 4"
    late = cluster["s3"]
    eventually(lambda: late.status().get("recovering") is False, "a vote of s3")


def test_the_return_of_the_missing_node_ends_the_wait(waiting: Cluster) -> None:
    waiting["s2"].start()
    check_serves(waiting)


def test_a_start_with_new_ends_the_wait(waiting: Cluster) -> None:
    waiting["s3"].kill()
    waiting["s3"].start("--new")
    check_serves(waiting)


def test_recovering_from_the_last_survivor_ends_the_wait(waiting: Cluster) -> None:
    for name in ("s1", "s3"):
        waiting[name].kill()
    done = raftline("recover", "s1", "--yes", "--dir", waiting.folder)
    assert done.returncode == 0, done.stderr
    waiting["s1"].start()
    eventually(lambda: waiting["s1"].status()["role"] == "leader", "s1 leads alone")
    assert waiting["s1"].ask("client4@get a") == "s1@GET response: 4"


def test_two_wiped_nodes_never_lead_next_to_entries(cluster: Cluster) -> None:
    """Two wiped nodes never lead while a third one has entries."""
    cluster.start().wait_until_whole()
    cluster.ask("client4@set a 4")
    cluster.wait_until_equal()
    third, leader = cluster.followers()[0], cluster.leader()
    wiped = [node for node in cluster.nodes if node is not third]
    assert leader in wiped
    for node in wiped:
        node.kill()
        for path in cluster.folder.glob(f"*{node.name}.*"):
            path.unlink()
    for node in wiped:
        node.start()
    one, other = (node.name for node in wiped)
    both = (f"{one} and {other} have no vote", f"{other} and {one} have no vote")
    third.wait_for_line("[!] No leader is heard: ")
    eventually(lambda: third.status()["no_leader_because"].startswith(both), "both are named")
    assert third.ask("client4@get a read local") == f"{third.name}@GET response: 4"
    assert all(node.status()["role"] != "leader" for node in cluster.nodes)


def test_new_and_join_exclude_each_other(cluster: Cluster) -> None:
    node = cluster["s1"]
    assert node.launch("--new", "--join", f"localhost:{cluster['s2'].port}").ended() == 2
    node.wait_for_line("[!] a node that joins needs no --new: it gets its vote from its leader")
    assert not (cluster.folder / "s1.storage").exists()


def test_joiner_ignores_hand_written_entries(cluster: Cluster) -> None:
    """A new member takes its entries from the cluster, and no hand-written ones."""
    node = cluster["s1"]
    node.log.write_text(BY_HAND)
    assert node.launch("--join", f"localhost:{cluster['s2'].port}").ended() == 3
    node.wait_for_line(
        "[!] s1.log was written by hand, and a node that joins takes its entries from the cluster; "
        "move the file away"
    )
    assert node.log.read_text() == BY_HAND
