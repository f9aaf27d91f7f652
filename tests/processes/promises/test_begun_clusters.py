"""Promises and limits: how a cluster begins, and what waits for an operator instead."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline.common.config import FAST
from raftline.raft.newborn import PATIENCE
from raftline_testing.doubles.in_process import raftline
from raftline_testing.nodes.cluster import NodeProcess
from raftline_testing.nodes.known_users import ROOT, first_admin
from raftline_testing.nodes.machines import Machines, begins_nothing, wipe
from raftline_testing.nodes.processes import eventually

PASSWORD = "correct horse battery"
COMMAND = re.compile(r"raftline (begin --\S+ .*?:\d+)")
NO_LEADER = "Sorry, I know of no leader. Try again."


def printed_command(text: str) -> list[str]:
    """Return the words of the command `raftline begin …` in a text."""
    found = COMMAND.search(text)
    assert found, text
    return shlex.split(found[1])


def say(cluster: Machines, node: NodeProcess, *without: str) -> tuple[int, str]:
    """Claim at a node that others never ran; return the exit status and what was printed."""
    words = ["--without", *without] if without else []
    done = raftline("begin", *words, "--at", cluster.address(node))
    assert bool(done.stdout) != bool(done.stderr)
    return done.returncode, (done.stdout or done.stderr).rstrip("\n")


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    with Machines(tmp_path, 3) as machines:
        yield machines


def test_a_node_waits_for_an_answer_or_a_word(machines: Machines) -> None:
    """No node begins a cluster by a guess: a node without files waits until every other member of
    its configuration says that it is new, too, or an operator claims that the silent ones never
    ran."""
    first, second, third = machines.nodes
    first.start()
    waits = "s1 has no files, and waits until it hears that s2 and s3 have none either"
    first.wait_for_line(f"[!] No leader is heard: {waits}")
    second.start()
    waits = "s1 has no files, and waits until it hears that s3 has none either"
    first.wait_for_line(f"[!] No leader is heard: {waits}. If it never ran: raftline begin ")
    begins_nothing(first, second)
    assert sum(waits in line for line in first.said) == 1
    assert second.ask("set a 1").startswith(f"s2@{NO_LEADER} s2 has no files, and waits until ")
    at = f"{machines.address(first)},{machines.address(second)}"
    looked = raftline("status", "--at", at)
    assert looked.returncode != 0
    assert looked.stdout.count(waits) == 1
    assert "Wait for the election" not in looked.stdout
    done = raftline(*printed_command(looked.stdout))
    assert (done.returncode, done.stdout) == (
        0, "BEGIN response: s1 no longer waits for s3\n",
    ), done.stderr  # fmt: skip
    assert machines.ask("set a 1") == "SET response: a set to 1"
    third.start()
    machines.wait_until_whole()
    assert third.ask("get a read local") == "s3@GET response: 1"
    assert raftline("status", "--at", at).returncode == 0


def test_three_new_nodes_need_no_word(machines: Machines) -> None:
    """No node begins a cluster by a guess: a node without files waits until every other member of
    its configuration says that it is new, too, or an operator claims that the silent ones never
    ran."""
    machines.start()
    assert machines.ask("set a 1") == "SET response: a set to 1"
    machines.wait_until_whole()


def test_silence_is_enough_on_one_machine(tmp_path: Path) -> None:
    """Only if all members have loopback addresses, six election timeouts of silence (3 seconds with
    `--pace fast`) end the wait."""
    with Machines(tmp_path, 3, host="localhost") as cluster:
        for node in cluster.nodes[:2]:
            node.start()
        assert cluster.ask("set a 1") == "SET response: a set to 1"
        assert cluster["s3"].launch().wait_for_line("catches up without a vote")
        cluster.wait_until_whole()


def lost_majorities() -> list[object]:
    """Return the number of members, and which of them keep their files."""
    return [
        pytest.param(3, ("s1",), id="one of three"),
        pytest.param(5, ("s2", "s4"), id="two of five"),
    ]


@pytest.mark.parametrize(("count", "kept"), lost_majorities())
def test_a_lost_majority_waits(tmp_path: Path, count: int, kept: tuple[str, ...]) -> None:
    """A cluster on several machines that lost the files of a majority waits for an operator, if the
    configuration of its nodes names a member that kept its files."""
    with Machines(tmp_path, count) as machines:
        machines.start().wait_until_whole()
        assert machines.ask("set a precious") == "SET response: a set to precious"
        machines.wait_until_equal()
        machines.kill()
        whole = [machines[name] for name in kept]
        wiped = [node for node in machines.nodes if node not in whole]
        wipe(*wiped)
        for node in wiped:
            node.start()
        begins_nothing(*wiped)
        for node in whole:
            node.start()
        for node in wiped:
            node.wait_for_line("can't tell whether it is new, it catches up without a vote")
        for node in whole:
            node.wait_for_line("have no vote, since they may be new or may have lost everything")
            assert node.ask("set a other").startswith(f"{node.name}@{NO_LEADER}")
            assert "set a precious\n" in node.log.read_text()
        status, said = say(machines, wiped[0], kept[0])
        assert (status, "a cluster with entries exists" in said) == (5, True)
        machines.kill()
        last = whole[0]
        done = raftline("recover", last.name, "--yes", "--dir", last.folder)
        assert done.returncode == 0, done.stderr
        last.start()
        eventually(lambda: last.ask("get a") == f"{last.name}@GET response: precious", "its data")


def test_a_file_of_the_first_day_hides_later_members(tmp_path: Path) -> None:
    """Nodes without files know only the members in their `server-configuration.txt`, and begin a
    second cluster if all of these lost their files."""
    with Machines(tmp_path, 2) as machines:
        machines.start().wait_until_whole()
        assert machines.ask("set a precious") == "SET response: a set to precious"
        third = machines.join()
        machines.wait_until_equal()
        mine = third.status()["cluster"]
        machines.kill()
        first, second, _ = machines.nodes
        wipe(first, second)
        first.start()
        second.start()
        eventually(lambda: first.status().get("cluster"), "a second cluster")
        assert first.status()["cluster"] != mine
        third.start()
        third.wait_for_line(f"and s3 of cluster {mine}: nothing is taken from it or sent to it")
        assert "set a precious\n" in third.log.read_text()


def test_a_lone_node_waits_for_a_word(tmp_path: Path) -> None:
    """`raftline begin --at HOST:PORT` lets a node begin whose configuration names it alone."""
    with Machines(tmp_path, 1) as machines:
        (node,) = machines.nodes
        node.start()
        longer_s = 1.2 * PATIENCE * FAST.election_timeout_ms / 1000
        asked = raftline("set", "a", "1", "--timeout", longer_s, "--at", machines.address(node))
        assert asked.returncode == 3, asked.stdout
        facts = raftline("status", "--at", machines.address(node))
        assert "others may have joined. If s1 never ran: " in facts.stdout
        done = raftline(*printed_command(facts.stdout))
        assert (done.returncode, done.stdout) == (
            0, "BEGIN response: s1 begins a cluster of one\n",
        ), done.stderr  # fmt: skip
        assert machines.ask("set a 1") == "SET response: a set to 1"


def test_a_claim_reaches_all_that_wait(tmp_path: Path) -> None:
    """`raftline begin --without s3` claims that s3 never ran, on any machine: if the nodes that
    wait are a majority, they begin, and s3 may start later."""
    with Machines(tmp_path, 5) as machines:
        for node in machines.nodes[:3]:
            node.start()
        begins_nothing(*machines.nodes[:3])
        assert say(machines, machines["s2"], "s4", "s5") == (
            0, "BEGIN response: s2 no longer waits for s4 and s5",
        )  # fmt: skip
        assert machines.ask("set a 1") == "SET response: a set to 1"
        machines.start().wait_until_whole()
        assert machines["s5"].ask("get a read local") == "s5@GET response: 1"


def test_a_false_claim_makes_two_clusters(machines: Machines) -> None:
    """If the claim is false, and s3 has entries, there are two clusters."""
    machines.start().wait_until_whole()
    assert machines.ask("set account 100") == "SET response: account set to 100"
    machines.wait_until_equal()
    first, second, third = machines.nodes
    mine = third.status()["cluster"]
    machines.kill()
    wipe(first, second)
    first.start()
    second.start()
    begins_nothing(first, second)
    assert say(machines, first, "s3")[0] == 0
    assert machines.ask("set account 7") == "SET response: account set to 7"
    theirs = first.status()["cluster"]
    assert "" != theirs != mine
    third.start()
    third.wait_for_line(f"is of cluster {theirs}, and s3 of cluster {mine}: nothing is taken from")
    first.wait_for_line(f"s3 at {machines.address(third)} is of cluster {mine}, and s1 of ")
    eventually(lambda: third.status()["foreign"] == {"s1": theirs, "s2": theirs}, "both, at s3")
    eventually(lambda: first.status()["foreign"] == {"s3": mine}, "s3, at s1")
    assert machines.ask("get account") == "GET response: 7"
    looked = raftline("status", "--at", machines.address(first))
    assert (looked.returncode != 0, "s3 is of another cluster" in looked.stdout) == (True, True)
    machines.kill()
    assert raftline("recover", "s3", "--dir", third.folder, "--yes").returncode == 0
    third.start()
    eventually(lambda: third.ask("get account") == "s3@GET response: 100", "the older data")


def test_a_wrong_word_changes_nothing(tmp_path: Path) -> None:
    """The command changes nothing at a node that has entries or has heard of some, about a member
    that answers, or if no majority would be left."""
    with Machines(tmp_path, 4) as machines:
        first, second, third, _ = machines.nodes

        def refused(node: NodeProcess, *without: str) -> str:
            status, said = say(machines, node, *without)
            assert status == 5
            found = re.fullmatch(r"Sorry, (.*)\. Nothing has begun\.", said)
            assert found, said
            return found[1]

        first.start()
        second.start()
        begins_nothing(first, second)  # half of the members, as the others may be
        half = "would be no majority of s1, s2, s3 and s4"
        assert refused(first, "s3", "s4") == f"s1 and s2 {half}"
        assert refused(second, "s4", "s3") == f"s1 and s2 {half}"
        assert refused(first) == "name the members that never ran: s1 waits for s3 and s4"
        assert refused(first, "s2") == "s2 answers, and is new"
        assert refused(first, "s1", "s3") == "s1 answers, and is new"
        assert refused(first, "s9") == "the configuration of s1 does not name s9"
        assert (
            raftline("begin", "--without", "s 3", "--at", machines.address(first)).returncode == 2
        )
        assert say(machines, first, "s3")[0] == 0
        assert refused(first, "s3") == "s1 already begins without s3"
        assert refused(first, "s4") == f"s1 and s2 {half}"
        assert not any(node.log.read_text().count("\n") > 1 for node in (first, second))
        third.start()
        assert say(machines, third, "s4")[0] == 0
        assert machines.ask("set a 1") == "SET response: a set to 1"
        machines.wait_until_whole()
        leader = machines.leader()
        for node in (first, second, third):
            assert refused(node, "s4") == f"{node.name} is part of a cluster that has begun"
        assert machines.leader() is leader
        machines.kill()
        first.start()
        first.wait_for_line("Heard from no leader")
        for without in (["s2"], ["s2", "s3", "s4"], []):
            assert refused(first, *without) == "s1 is part of a cluster that has begun"


def test_the_first_admin_begins_a_cluster(tmp_path: Path) -> None:
    """Until a cluster has users, a new node with `--first-admin` lets only that admin log in, who
    may type it."""
    with Machines(tmp_path, 3, "--insecure", *first_admin(tmp_path, PASSWORD)) as machines:
        first, second, third = machines.nodes
        first.start()
        second.start()
        begins_nothing(first, second)
        word = ["begin", "--without", "s3", "--at", machines.address(first)]
        for file, password in (("right", PASSWORD), ("wrong", "guess"), ("bobs", "bobs")):
            (tmp_path / file).write_text(password)
            (tmp_path / file).chmod(0o600)
        for user, file, status in (("", "", 5), ("ann", "right", 6), (ROOT, "wrong", 6)):
            login = ["--user", user, "--password-file", tmp_path / file] if user else []
            assert raftline(*word, *login).returncode == status, user
        assert second.status().get("role") is None  # nobody may read, either
        admin = ["--user", ROOT, "--password-file", tmp_path / "right"]
        done = raftline(*word, *admin)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        at = f"{machines.address(first)},{machines.address(second)}"
        added = raftline(
            "user", "add", "bob", "--role", "writer", "--at", at, *admin, typed=b"bobs\n"
        )
        assert added.returncode == 0, added.stderr
        third.start()
        third.wait_for_line("s3 has caught up and votes again")
        bob = ["--user", "bob", "--password-file", tmp_path / "bobs"]
        refused = raftline("begin", "--without", "s3", "--at", at, *bob)
        assert (refused.returncode, "it takes the role admin" in refused.stderr) == (5, True)
