"""`raftline get`, `set`, `delete` and `show`: where they ask, what they print, how they end."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline.wire.protocol import error, not_leader, outcome_unknown
from raftline_course.harness.cluster import Cluster
from raftline_course.harness.processes import eventually
from tests import in_process
from tests.scripted_node import Start, free_port, scripted_nodes, store


@pytest.fixture
def start() -> Iterator[Start]:
    with scripted_nodes() as start_node:
        yield start_node


def raftline(
    folder: Path, *words: object, at: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder`, with $RAFTLINE as given; errors are one line at most."""
    environment = {key: value for key, value in os.environ.items() if key != "RAFTLINE"}
    environment |= {} if at is None else {"RAFTLINE": at}
    done = in_process.raftline(*words, folder=folder, environment=environment)
    assert done.stderr.count("\n") <= 1, done.stderr
    return done


def test_each_client_verb_is_a_shell_command(start: Start, tmp_path: Path) -> None:
    node = start(store())

    def answer(*words: str) -> tuple[str, int]:
        done = raftline(tmp_path, *words, at=f"localhost:{node.port}")
        return done.stdout + done.stderr, done.returncode

    said = "SET response: my\\skey set to two  words\n"
    assert answer("set", "my key", "two", " words") == (said, 0)
    assert answer("get", "my key") == ("GET response: two  words\n", 0)
    assert answer("get", "my key", "-q") == ("two  words\n", 0)
    assert answer("show") == ('SHOW response: {"ana": "4", "my\\\\skey": "two  words"}\n', 0)
    assert answer("delete", "my key") == (r"DELETE response: my\skey deleted" + "\n", 0)
    assert answer("get", "my key") == (r"GET response, no such key: my\skey" + "\n", 1)
    assert json.loads(answer("get", "--json", "ana")[0])["value"] == "4"
    answer("show", "my key", "after", "k")
    assert node.received[-1] == r"raftline@show my\skey after k"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["set", "k", "-1"], "set k -1"),
        (["set", "k", ""], "set k "),
        (["set", "k", "--", "--nonsense"], "set k -- --nonsense"),
        (["set", "--timeout", "5", "--", "-k", "--at"], "set -k --at"),
        (["get", "--", "--at"], "get --at"),
        (["get", "-"], "get -"),
        (["get", "--timeout=5", "k", "read", "local"], "get k read local"),
        (["delete", "k", "--timeout", "5"], "delete k"),
    ],
)
def test_shell_words_are_escaped_for_the_wire(
    start: Start, tmp_path: Path, words: list[str], line: str
) -> None:
    node = start(lambda _: "SESSION response: x")
    raftline(tmp_path, *words, at=f"localhost:{node.port}")
    assert node.asked[-1].partition("@")[2] == line


def test_a_command_tries_the_option_then_the_variable_then_the_folders_nodes(
    start: Start, tmp_path: Path
) -> None:
    said, variable, folder, other = (
        start(lambda _, name=name: f"GET response: {name}", name)
        for name in ("said", "variable", "folder", "other")
    )
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "server-configuration.txt").write_text(f"s1 localhost {folder.port}\n")
    (tmp_path / "server-configuration.txt").write_text(f"s1 localhost {other.port}\n")
    at = f"localhost:{variable.port}"

    def asked(*options: str, at: str | None) -> str:
        return raftline(tmp_path, "get", "-q", *options, "a", at=at).stdout

    assert asked("--at", f"localhost:{said.port}", at=at) == "said\n"
    assert asked(at=at) == "variable\n"
    assert asked("--dir", ".", at=at) == "other\n"
    assert asked(at="") == asked(at=None) == "folder\n"


def test_a_command_finds_the_leader_past_nodes_that_are_down(start: Start, tmp_path: Path) -> None:
    leader = start(store(), "s1")
    follower = start(lambda _: not_leader("s1", "localhost", leader.port), "s2")
    at = f"localhost:{free_port()}, localhost:{follower.port}"
    assert raftline(tmp_path, "set", "a", "5", at=at).stdout == "SET response: a set to 5\n"
    assert raftline(tmp_path, "get", "a", at=at).stdout == "GET response: 5\n"
    assert leader.asked == ["raftline@session", "client-7#1@set a 5", "raftline@get a"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["get"], "raftline get: error: KEY is missing. usage: raftline get [options] KEY"),
        (["get", "a", "b"], "raftline get: error: get takes one key; "),
        (["set"], "raftline set: error: KEY is missing. "),
        (["set", "a"], "raftline set: error: VALUE is missing. "),
        (["set", "a", "5", "--at", "h:1"], "raftline set: error: --at stands behind KEY; options "),
        (["set", "a", "--timeout=5"], "raftline set: error: --timeout=5 stands behind KEY; "),
        (["show", "a", "b"], "raftline show: error: show takes [PREFIX] [after KEY]; "),
        (["delete", "--nonsense", "a"], "raftline delete: error: unrecognized arguments: --nons"),
        (["get", "--at", "h", "a"], "raftline get: error: argument --at: 'h' is no address: host:"),
        (["get", "--at", "h:1,", "a"], "raftline get: error: argument --at: '' is no address: "),
        (
            ["get", "--at", "h:1", "--dir", "d", "a"],
            "raftline: --at and --dir both say where ",
        ),
        (["get", "--dir", "gone", "a"], "raftline: gone/server-configuration.txt: is missing"),
        (["get", "a"], "server-configuration.txt here or in any folder above; "),
        (["get", "a"], "; or say where: --at HOST:PORT, or $RAFTLINE\n"),
    ],
)
def test_a_usage_error_is_one_line_and_sends_no_request(
    tmp_path: Path, words: list[str], said: str
) -> None:
    done = raftline(tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_variable_that_names_no_node_is_reported(tmp_path: Path) -> None:
    done = raftline(tmp_path, "get", "a", at="localhost:1,h")
    assert done.stderr.startswith("raftline: $RAFTLINE: 'h' is no address: host:port, such as ")
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("GET response, no such key: a", 1),
        (outcome_unknown("lost its place"), 4),
        (error("the key has 5 bytes; the limit is 4. Nothing was done."), 5),
    ],
)
def test_client_verbs_have_the_exit_codes_of_the_client(
    start: Start, tmp_path: Path, text: str, code: int
) -> None:
    port = start(lambda _: text).port
    done = raftline(tmp_path, "get", "--timeout", "0.2", "--at", f"localhost:{port}", "a")
    assert (done.stdout, done.returncode) == (text + "\n", code)


def test_without_a_listener_a_command_fails_at_once_in_one_line(tmp_path: Path) -> None:
    port = free_port()
    done = raftline(tmp_path, "set", "a", "5", at=f"localhost:{port}")
    assert done.stderr.startswith(f"Sorry, nothing listens on localhost port {port}: no node runs")
    assert (done.stdout, done.returncode) == ("", 5)
    done = raftline(tmp_path, "set", "--json", "a", "5", at=f"localhost:{port}")
    printed = json.loads(done.stdout)
    assert printed.pop("error").startswith(f"nothing listens on localhost port {port}: ")
    assert printed == {"ok": False, "verb": "set", "key": "a", "code": 5}
    assert (done.stderr, done.returncode) == ("", 5)


def test_commands_of_the_shell_leave_no_session_behind(three: Cluster, tmp_path: Path) -> None:
    where = f"localhost:{three.nodes[0].port}"
    eventually(lambda: three.nodes[0].status()["level"] >= 3, "the level")
    for number in range(3):
        assert raftline(tmp_path, "set", "a", number, at=where).returncode == 0
    eventually(lambda: three.nodes[0].status()["sessions"] == 0, "all were given back")
    assert raftline(tmp_path, "get", "-q", "a", at=where).stdout == "2\n"
