"""The interactive client and raw clients at a real cluster."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pexpect

from raftline_testing.doubles.in_process import without_notices
from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.nodes.processes import DEADLINE_S

CLIENT = Path(__file__).resolve().parents[3] / "src" / "client.py"


def run_client(node: NodeProcess, *arguments: str, typed: str = "") -> tuple[int, list[str]]:
    """Run client.py against `node`; return its exit code and the lines it printed."""
    ended = subprocess.run(
        [sys.executable, str(CLIENT), str(node.port), *arguments],
        input=typed,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stdout.splitlines()


def test_figure_1_client_2_gets_the_value_that_client_1_set(
    shared: Cluster, tmp_path: Path
) -> None:
    port = str(shared.leader().port)
    screens = []
    for number in ("1", "2"):
        screen = pexpect.spawn(
            sys.executable,
            [str(CLIENT), port, number],
            encoding="utf-8",
            timeout=DEADLINE_S,
            env={"TERM": "dumb", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )
        screen.expect_exact(f"[*] Connecting to localhost port {port}")
        screen.expect_exact(">> ")
        screens.append(screen)
    screens[0].sendline("set d 8")
    screens[0].expect_exact("[*] Sending: set d 8")
    screens[0].expect(r"\[\*\] Received:\r\n\s*\r\n>> SET response: ?\r\nd set to 8\r\n")
    screens[1].sendline("get d")
    screens[1].expect_exact("[*] Sending: get d")
    screens[1].expect(r"\[\*\] Received:\r\n\s*\r\n>> GET response: ?\r\n8\r\n")
    for screen in screens:
        screen.sendintr()
        screen.expect_exact("[*] Closing socket")
        screen.expect(pexpect.EOF)


def test_lines_from_a_pipe_are_answered_one_by_one(shared: Cluster) -> None:
    code, lines = run_client(
        shared.leader(), "1", typed="set p 8\nget p\ndelete p\nget p\nsing\nget p\n"
    )
    assert len(lines) == 6
    assert code != 0
    assert lines[1] == "GET response: 8"


def test_at_a_follower_the_client_follows_or_shows_the_leader(shared: Cluster) -> None:
    leader = shared.leader()
    shared.wait_until_equal()
    follower = shared.followers()[0]
    shared.ask("client1@set f 1")
    code, lines = run_client(follower, "--here", "1", "get", "f")
    assert code == 3
    sorry = f"Sorry, I am not the leader. Last leader I heard from is: {leader.name} "
    assert any(line.startswith(sorry + f"(localhost:{leader.port})") for line in lines)
    for words in (["1", "get", "f"], ["--follow", "1", "get", "f"], ["get", "f"]):
        assert run_client(follower, *words) == (0, ["GET response: 1"])


def test_one_command_as_arguments_gives_its_reply_and_exit_code(shared: Cluster) -> None:
    leader = shared.leader()
    assert run_client(leader, "1", "set", "one", "two words")[0] == 0
    assert run_client(leader, "1", "get", "one") == (0, ["GET response: two words"])
    assert run_client(leader, "1", "get", "nothing-here")[0] == 1


def test_a_value_keeps_its_spaces_to_the_byte(shared: Cluster) -> None:
    assert shared.ask("client4@set k  a b  c ") == "SET response: k set to  a b  c "
    assert shared.ask("client4@get k") == "GET response:  a b  c "


def test_writes_of_many_clients_to_one_key_happen_one_at_a_time(shared: Cluster) -> None:
    node = shared.leader()
    conversations = [node.connect() for _ in range(20)]
    for number, conversation in enumerate(conversations):
        lines = [line for _ in range(25) for line in (f"c@set shared {number}", "c@delete shared")]
        conversation.send(*lines)
    counts = {"set": 0, "deleted": 0, "absent": 0}
    for number, conversation in enumerate(conversations):
        for reply in conversation.read_lines(50):
            text = reply.partition("@")[2]
            if text == f"SET response: shared set to {number}":
                counts["set"] += 1
            elif text == "DELETE response: shared deleted":
                counts["deleted"] += 1
            else:
                assert text == "DELETE response, no such key: shared"
                counts["absent"] += 1
        conversation.close()
    assert counts["set"] == 500
    assert counts["deleted"] + counts["absent"] == 500
    assert shared.ask("c@show shared") in ("SHOW response: {}",)


def test_deleting_a_missing_key_leaves_the_connection_in_use(shared: Cluster) -> None:
    node = shared.leader()
    with node.connect() as client:
        missing = f"{node.name}@DELETE response, no such key: never-there"
        assert client.ask("client1@delete never-there") == missing
        assert client.ask("client1@delete never-there") == missing


def test_a_client_without_an_id_is_served(shared: Cluster) -> None:
    assert shared.ask("client@set anonymous 1") == "SET response: anonymous set to 1"
    assert shared.ask("get anonymous") == "GET response: 1"


def test_a_command_of_the_shell_reaches_the_leader_from_any_node(shared: Cluster) -> None:
    places = [f"localhost:{node.port}" for node in shared.nodes]
    where = [["--dir", str(shared.folder)], ["--at", ",".join(places)]]
    where += [["--at", place] for place in places]
    for number, options in enumerate(where):
        for words, said in (
            (["set", *options, "shell", str(number)], f"SET response: shell set to {number}"),
            (["get", "-q", *options, "shell"], f"{number}"),
            (["show", *options, "shell"], f'SHOW response: {{"shell": "{number}"}}'),
            (["delete", *options, "shell"], "DELETE response: shell deleted"),
        ):
            ended = subprocess.run(
                [sys.executable, str(CLIENT.with_name("cli.py")), *words],
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
                check=False,
            )
            complaints = without_notices(ended.stderr)
            assert (ended.stdout, complaints, ended.returncode) == (said + "\n", "", 0)
