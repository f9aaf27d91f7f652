"""Ten looks at three real nodes, for a quick verdict; the other files of this folder continue."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S, eventually

SOURCE = Path(__file__).resolve().parents[2] / "src"


def run_program(program: str, *arguments: str, typed: str = "") -> tuple[int, list[str]]:
    """Run a program of `src/`; return its exit code and the lines it printed."""
    ended = subprocess.run(
        [sys.executable, str(SOURCE / program), *arguments],
        input=typed,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stdout.splitlines()


def test_a_client_gets_the_value_that_another_set(shared: Cluster) -> None:
    assert shared.ask("client1@set k  a b  c ") == "SET response: k set to  a b  c "
    assert shared.ask("client2@get k") == "GET response:  a b  c "


def test_a_follower_names_the_leader_and_the_client_follows(shared: Cluster) -> None:
    leader, follower = shared.leader(), shared.followers()[0]
    shared.wait_until_equal()
    assert shared.ask("client1@set f 1") == "SET response: f set to 1"
    assert follower.ask("client1@get f") == (
        f"{follower.name}@Sorry, I am not the leader. "
        f"Last leader I heard from is: {leader.name} (localhost:{leader.port})"
    )
    asked = run_program("client.py", str(follower.port), "1", "get", "f")
    assert asked == (0, ["GET response: 1"])


def test_lines_from_a_pipe_are_answered_in_their_order(shared: Cluster) -> None:
    typed = "set p 8\nget p\ndelete p\nget p\n"
    _, lines = run_program("client.py", str(shared.leader().port), "1", typed=typed)
    assert lines == [
        "SET response: p set to 8",
        "GET response: 8",
        "DELETE response: p deleted",
        "GET response, no such key: p",
    ]


def test_a_retried_request_takes_effect_once(shared: Cluster) -> None:
    for _ in range(3):
        assert shared.ask("client7#1@incr visits") == "INCR response: 1"
    assert shared.ask("client7@get visits") == "GET response: 1"


def test_a_condition_decides_whether_a_write_takes_effect(shared: Cluster) -> None:
    assert shared.ask("c@setnx lock me") == "SETNX response: lock set to me"
    assert shared.ask("c@setnx lock you") == "SETNX response, key exists: lock"
    assert shared.ask("c@cas lock me you") == "CAS response: lock set to you"
    assert shared.ask("c@get lock") == "GET response: you"


def test_malformed_line_is_refused_and_the_connection_continues(shared: Cluster) -> None:
    node = shared.leader()

    def adds_nothing() -> bool:
        """Whether no entry came: the end of an earlier command's session may come meanwhile."""
        end = node.status()["last_index"]
        with node.connect() as client:
            assert client.ask("client1@sing").startswith(f"{node.name}@Sorry, ")
            assert client.ask("client1@set").startswith(f"{node.name}@Sorry, ")
            said = client.ask("client1@get nobody")
            assert said == f"{node.name}@GET response, no such key: nobody"
        return node.status()["last_index"] == end

    eventually(adds_nothing, "malformed lines without an entry")


def test_every_node_has_the_same_log_on_its_disk(shared: Cluster) -> None:
    assert shared.ask("client1@set logged everywhere") == "SET response: logged set to everywhere"
    shared.wait_until_on_all_disks()
    logs = {
        tuple(line for line in node.log.read_text().splitlines() if " set " in line)
        for node in shared.nodes
    }
    assert len(logs) == 1
    assert any(line.endswith("set logged everywhere") for line in logs.pop())


def test_status_shows_one_leader_and_two_followers(shared: Cluster) -> None:
    shared.leader()
    code, lines = run_program("cli.py", "status", "--timeout", "20", "--dir", str(shared.folder))
    roles = sorted(line.split()[2] for line in lines[1:4])
    assert (code, roles) == (0, ["follower", "follower", "leader"]), lines


def test_the_leadership_is_handed_over(shared: Cluster) -> None:
    leader, to = shared.leader(), shared.followers()[0]
    reply = leader.ask(f"client4@transfer {to.name}")
    assert reply.startswith(f"{leader.name}@TRANSFER response: {to.name} leads term ")
    assert shared.leader() is to
    assert shared.ask("client4@set handed over") == "SET response: handed set to over"
    shared.led_by(leader.name)


def test_a_leader_is_killed_and_nothing_acknowledged_is_lost(cluster: Cluster) -> None:
    first = cluster.leader()
    assert cluster.ask("client1@set kept 1") == "SET response: kept set to 1"
    first.kill()
    assert cluster.ask("client1@get kept") == "GET response: 1"
    assert cluster.ask("client1@set kept 2") == "SET response: kept set to 2"
    first.start()
    cluster.wait_until_equal()
    assert eventually(lambda: "set kept 2\n" in first.log.read_text(), "the write it missed")
    assert cluster.ask("client1@get kept") == "GET response: 2"
