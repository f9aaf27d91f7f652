"""The client for programs: pipes, one-shots, forms, exit codes, usage."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from raftline.client import (
    Client,
    Unreachable,
    command_of,
    parser,
    read_options,
    split_command,
)
from raftline.common.process.standard_streams import EXIT_OUTPUT
from raftline.wire.refusal import NO_LEADER, error, not_leader, outcome_unknown
from raftline.wire.replies.replies import Reply, as_json
from raftline_testing.doubles import in_process
from raftline_testing.doubles.in_process import without_notices
from raftline_testing.doubles.scripted_node import (
    DEADLINE_S,
    SOURCE,
    Start,
    answer_to_codes,
    free_port,
    run,
    store,
)


def test_lines_from_a_pipe_get_exactly_one_reply_each(start: Start) -> None:
    done = run(start(store()).port, 1, typed="set k a b  c \r\n\nget k\nset k  \nget k\nshow")
    assert done.stdout == (
        "SET response: k set to a b  c \nGET response: a b  c \nSET response: k set to  \n"
        'GET response:  \nSHOW response: {"ana": "4", "k": " "}\n'
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_comment_in_a_pipe_is_not_sent(start: Start) -> None:
    node = start(store())
    typed = "# lamps\n  # and more\nset a # 5\n#get a\nget a\n"
    done = run(node.port, 1, "--here", typed=typed)
    assert done.stdout == "SET response: a set to # 5\nGET response: # 5\n"
    done = run(node.port, 1, "--screen", typed="# lamps\nget a\n")
    assert done.stdout.count("[*] Received:") == 1
    assert node.received == ["client1@set a # 5", *["client1@get a"] * 2]


def test_piped_line_is_answered_before_the_next_is_typed(start: Start) -> None:
    """A line from a pipe is answered before the next one arrives."""
    command = [sys.executable, str(SOURCE / "client.py"), str(start(store()).port), "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        for _ in range(2):
            client.stdin.write(b"get ana\n")
            client.stdin.flush()
            assert client.stdout.readline() == b"GET response: 4\n"
        client.stdin.close()
        assert client.wait(DEADLINE_S) == 0


def test_piped_lines_fly_together_and_a_bad_one_stops_none() -> None:
    """The node answers nothing before it has all lines of one kind."""
    typed = "set a 1\nset b 2\nincr a x\ndelete b\nget a\nget b\n"
    answers = ["SET response: a set to 1", "SET response: b set to 2", error("BY is no number")]
    answers += ["DELETE response: b deleted", "GET response: 1", "GET response, no such key: b"]
    lines: list[str] = []

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("r") as stream:
            replies = iter(answers)
            connection.sendall(answer_to_codes(stream.readline().rstrip("\n")))
            for count in (1, 4, 2):  # a session, writes, reads
                lines.extend(batch := [stream.readline().rstrip("\n") for _ in range(count)])
                for line in batch:
                    sender, _, command = line.partition("@")
                    _, number_sign, number = sender.partition("#")
                    text = "SESSION response: client-7" if command == "session" else next(replies)
                    connection.sendall(f"s1{number_sign}{number}@{text}\n".encode())
            stream.readline()

    with socket.create_server(("localhost", 0)) as listener:
        server = threading.Thread(target=lambda: serve(listener.accept()[0]))
        server.start()
        done = run(listener.getsockname()[1], 1, typed=typed)
        server.join(DEADLINE_S)
    assert done.stdout.splitlines() == answers
    assert (done.returncode, done.stderr) == (2, "")
    assert [line.partition("@")[2] for line in lines[1:]] == typed.splitlines()


def test_lines_of_a_pipe_without_a_leader_have_a_reply_each(start: Start) -> None:
    typed = "".join(f"get k{number}\n" for number in range(300))
    done = run(start(lambda _: NO_LEADER).port, 1, "--timeout", "0.3", typed=typed)
    replies = done.stdout.splitlines()
    assert len(replies) == 300
    assert all(line.startswith("Sorry, ") for line in replies)
    assert "it was not sent" in replies[-1]
    assert done.returncode == 3


def test_bytes_that_are_not_utf_8_reach_the_node_as_they_are(start: Start) -> None:
    node = start(lambda _: error("no such byte"))
    done = run(node.port, 1, "--here", typed=b"set a \xff\x00\rb\n")
    assert node.received == ["client1@set a \udcff\x00\rb"]
    assert (done.stdout, done.returncode) == ("Sorry, no such byte\n", 2)


def test_an_answer_cannot_move_the_cursor(start: Start) -> None:
    done = run(start(lambda _: "GET response: \x1b[2J\udcff").port, 1, "get a")
    assert done.stdout == "GET response: \\x1b[2J\\xff\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["get", "a"], "get a"),
        (["get", "my key"], r"get my\skey"),
        (["set", "my key", "two", "words"], r"set my\skey two words"),
        (["cas", "my key", "the old"], r"cas my\skey the\sold"),  # and NEW is missing
        (["set", "a", ""], "set a "),
        (["set", "a"], "set a"),
        (["set", "a", "1\n2\\"], r"set a 1\n2\\"),
        (["set", "a", "--follow", "-1"], "set a --follow -1"),
        ([r"get my\skey"], r"get my\skey"),
        (["show", "my p", "after", "k"], r"show my\sp after k"),
        (["--", "get", "-x"], "get -x"),
        (["set", "--", "-x"], r"set -- -x"),
    ],
)
@pytest.mark.parametrize("name", [["1"], []])
def test_arguments_are_escaped_for_the_wire(
    arguments: list[str], line: str, name: list[str]
) -> None:
    options = ["--host", "localhost", "10000", "--timeout", "3", *name]
    head, words = split_command([*options, *arguments])
    assert head == options
    assert command_of(words) == line


@pytest.mark.parametrize(
    ("command", "text", "code"),
    [
        ("get a", "GET response: 5", 0),
        ("get a", "GET response: Sorry, I am not the leader.", 0),
        ("get a", "GET response: GET response, no such key: a", 0),
        ("get a", "GET response, no such key: a", 1),
        ("delete a", "DELETE response, no such key: a", 1),
        ("set a 5", not_leader("s2", "localhost", 10001), 3),
        ("set a 5", NO_LEADER, 3),
        ("set a 5", outcome_unknown("lost its place"), 4),
        ("set a 5", error("the key has 5 bytes; the limit is 4. Nothing was done."), 5),
    ],
)
def test_each_outcome_has_its_exit_code(start: Start, command: str, text: str, code: int) -> None:
    done = run(start(lambda _: text).port, 1, "--here", *command.split())
    assert (done.stdout, done.returncode) == (text + "\n", code)


def test_from_a_pipe_the_exit_code_is_the_highest_of_all_replies(start: Start) -> None:
    done = run(start(store()).port, 1, typed="get ana\nfoo\nget missing\nget ana\n")
    assert done.returncode == 2
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [
        "GET response",
        "Sorry, I don't understand",
        "GET response, no such key",
        "GET response",
    ]


def test_quiet_prints_values_alone(start: Start) -> None:
    port = start(store()).port
    assert run(port, 1, "-q", "get", "ana").stdout == "4\n"
    assert run(port, 1, "-q", "set", "e", "").stdout == ""
    assert run(port, 1, "-q", "get", "e").stdout == "\n"
    assert run(port, 1, "-q", "show").stdout == '{"ana": "4", "e": ""}\n'
    absent = run(port, 1, "-q", "get", "x")
    assert (absent.stdout, absent.returncode) == ("", 1)
    assert absent.stderr == "GET response, no such key: x\n"


def test_json_distinguishes_each_outcome(start: Start) -> None:
    lines = "set k\\s1 a\\nb\nget k\\s1\nget x\ndelete k\\s1\nshow\nstatus\nfoo\n"
    done = run(start(store()).port, 1, "--json", typed=lines)
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    assert replies == [
        {"ok": True, "verb": "set", "key": "k 1", "value": "a\nb", "server": "s1"},
        {"ok": True, "verb": "get", "key": "k 1", "value": "a\nb", "server": "s1"},
        {"ok": False, "verb": "get", "key": "x", "error": "no such key", "code": 1, "server": "s1"},
        {"ok": True, "verb": "delete", "key": "k 1", "server": "s1"},
        {"ok": True, "verb": "show", "pairs": {"ana": "4"}, "server": "s1"},
        {"ok": True, "verb": "status", "status": {"role": "leader"}, "server": "s1"},
        {
            "ok": False,
            "verb": "foo",
            "error": "I don't understand: foo. Try: get KEY, set KEY VALUE, delete KEY, show, help",
            "code": 2,
            "server": "s1",
        },
    ]


def test_json_gives_the_members_as_json() -> None:
    printed = json.loads(as_json("members", Reply("s1", 'MEMBERS response: {"voters": ["s1"]}')))
    assert printed == {"ok": True, "verb": "members", "members": {"voters": ["s1"]}, "server": "s1"}


def test_json_names_the_leader_that_the_sorry_line_names() -> None:
    printed = json.loads(as_json("get a", Reply("s2", not_leader("s1", "localhost", 10000))))
    assert printed["leader"] == {"name": "s1", "host": "localhost", "port": 10000}
    assert printed["code"] == 3


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["0", "1"],
        ["a b:10000"],
        ["h1:", "1"],
        ["h1:70000", "1"],
        ["--host", "h1", "h2:10000", "1"],
        ["--here", "--follow", "10000", "1"],
        ["--here", "--also", "h2:10000", "10000", "1"],
        ["70000", "1"],
        ["abc", "1"],
        ["-1", "1"],
        ["1_000", "1"],
        ["١٠٠٠٠", "1"],
        ["10000", "a@b"],
        ["10000", "a" * 65],
        ["10000", "é"],
        ["--timeout", "0", "10000", "1"],
        ["--timeout", "nan", "10000", "1"],
        ["--foo", "10000", "1"],
        ["--json", "--screen", "10000", "1"],
    ],
)
def test_wrong_usage_is_reported_in_one_line(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "usage: client.py [options] [HOST:]PORT [ID] [command ...]" in done.stderr


def test_the_nodes_may_be_named_as_for_every_other_command(start: Start) -> None:
    node = start(store())
    at = f"localhost:{free_port()},localhost:{node.port}"
    assert run("--at", at, "alice", "get", "ana").returncode == 0
    assert run(f"--at={at}", "get", "ana").stdout == "GET response: 4\n"
    assert node.received == ["alice@get ana", "client@get ana"]
    done = run("--at", "nonsense", "get", "ana")
    assert done.returncode == 2
    assert "error: argument --at: 'nonsense' is not an address: host:port, such as" in done.stderr
    done = in_process.raftline("client", environment={**os.environ, "RAFTLINE": at})
    assert (done.returncode, done.stdout) == (0, "")  # nothing was typed


def test_an_id_that_is_a_name_is_the_name(start: Start) -> None:
    node = start(store())
    assert run(node.port, "alice", "get", "ana").returncode == 0
    assert node.received == ["alice@get ana"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [("shwo", "show [PREFIX] [after KEY] [with index]"), ("sets", "set KEY VALUE"),
     ("ls", "show [PREFIX] [after KEY] [with index]")],
)  # fmt: skip
def test_an_id_that_looks_like_a_command_is_reported(start: Start, name: str, meant: str) -> None:
    node = start(store())
    line = f"[!] {name} is taken for the ID, not for a command. Did you mean: {meant}\n"
    for form in ([], ["--screen"]):
        done = run(*form, node.port, name, typed="get ana\n")
        assert (done.stderr, done.returncode) == (line, 0)
    refused = run(node.port, name, "ana")
    assert (refused.stderr, refused.returncode) == (line, 2)
    assert run(node.port, name, "get", "ana").stderr == ""
    assert run(node.port, "ada", typed="get ana\n").stderr == ""
    assert node.received[0] == f"{name}@get ana"


@pytest.mark.parametrize("arguments", [["get", "a"], [], ["--screen"]])
def test_without_a_listener_one_line_names_the_remedy(arguments: list[str]) -> None:
    port = free_port()
    done = run(port, 1, *arguments, typed="get a\n")
    assert done.returncode == 5
    assert done.stderr == (
        f"Sorry, nothing listens on localhost port {port}: no node runs there."
        f" Start one with raftline up, or python3 src/server.py NAME {port}.\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [(["get"], "the key is missing"), (["gte", "a"], "gte"), (["remove"], "the f")],
)
def test_mistyped_command_is_a_usage_error_without_a_node(words: list[str], said: str) -> None:
    """A mistyped command is a usage error even if no node listens."""
    port = free_port()
    done = run(port, 1, *words)
    assert done.stdout.startswith("Sorry, ")
    assert said in done.stdout
    assert (done.stderr, done.returncode) == ("", 2)
    printed = json.loads(run(port, 1, "--json", *words).stdout)
    assert (printed["code"], printed["ok"]) == (2, False)
    assert said in printed["error"]


@pytest.mark.parametrize("host", ["a..b", "", "a" * 64, "\udcff", "no such host"])
def test_an_unknown_host_is_unreachable_like_any_other(host: str) -> None:
    with Client(host, 1) as client, pytest.raises(Unreachable, match="no such host"):
        client.request("get a")


@pytest.mark.parametrize("words", [["get", "ana"], [], ["--screen"]])
def test_unprintable_answer_is_reported_in_one_line(start: Start, words: list[str]) -> None:
    """A reply that cannot be printed is reported in one line."""
    options = [word for word in words if word.startswith("-")]
    command = [str(SOURCE / "client.py"), *options, str(start(store()).port), "1"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, *command, *(word for word in words if word not in options)],
            input=b"get ana\n",
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    said = without_notices(done.stderr.decode())
    assert said == "client.py: can't print: No space left on device\n"
    assert done.returncode == EXIT_OUTPUT


def test_a_write_without_an_answer_has_an_unknown_outcome(start: Start) -> None:
    node = start(lambda _: None)
    done = run(node.port, 1, "--here", "set", "a", "5")
    assert done.returncode == 4
    assert done.stdout.startswith(f"Sorry, outcome unknown: localhost port {node.port} ")
    assert "look with get before you send it again" in done.stdout


@pytest.mark.parametrize(
    ("typed", "look"),
    [("replace s2 s5 localhost 1", "members"), ("remove s2", "members"), ("transfer s2", "status")],
)
def test_a_change_without_an_answer_points_to_members(start: Start, typed: str, look: str) -> None:
    done = run(start(lambda _: None).port, 1, "--here", typed)
    assert done.returncode == 4
    assert f"The change may yet take effect: look with {look} before you send it" in done.stdout


def test_a_read_without_an_answer_is_unreachable(start: Start) -> None:
    done = run(start(lambda _: None).port, 1, "--here", "get", "a")
    assert done.returncode == 5
    assert "outcome unknown" not in done.stdout
    assert "closed the connection before it answered" in done.stdout


def test_silent_node_is_awaited_no_longer_than_asked(start: Start) -> None:
    """A node that does not answer is waited for no longer than the time limit."""
    leave = threading.Event()
    node = start(lambda _: str(leave.wait(DEADLINE_S)))
    for command, code in (("get a", 5), ("set a 5", 4)):
        done = run("--here", "--timeout", "1.5", node.port, 1, *command.split())
        assert done.returncode == code
        assert "no answer within 1.5 s" in done.stdout
        assert "--timeout 60" in done.stdout
    leave.set()


def test_a_reply_without_a_name_is_from_no_node(start: Start) -> None:
    listener = socket.create_server(("localhost", 0))

    def garbage() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(100)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    threading.Thread(target=garbage, daemon=True).start()
    with (
        listener,
        Client(port=listener.getsockname()[1]) as client,
        pytest.raises(Unreachable, match="answered something that is not raftline"),
    ):
        client.request("get a")


@pytest.mark.parametrize("asked", [(), ("--follow",), ("--also", "localhost:1")])
def test_follow_sends_the_request_to_the_leader(start: Start, asked: tuple[str]) -> None:
    leader = start(store(), "s1")
    follower = start(lambda _: not_leader("s1", "localhost", leader.port), "s2")
    done = run(*asked, follower.port, 1, typed="set a 5\nget a\n")
    assert (done.stdout, done.returncode) == ("SET response: a set to 5\nGET response: 5\n", 0)
    assert follower.asked == ["client1@session"]
    assert leader.asked == ["client1@session", "client-7#1@set a 5", "client1@get a"]


@pytest.mark.parametrize(
    ("arguments", "follows"),
    [
        (["PORT", "1", "get", "ana"], True),
        (["PORT", "get", "ana"], True),
        (["PORT", "1"], True),
        (["PORT"], True),
        (["--screen", "PORT"], True),
        (["--screen", "--follow", "PORT", "1"], True),
        (["--screen", "--also", "localhost:1", "PORT", "1"], True),
        (["--screen", "PORT", "1"], False),
        (["--here", "PORT", "1", "get", "ana"], False),
        (["PORT", "--here", "1", "get", "ana"], False),
        (["--here", "PORT", "get", "ana"], False),
        (["--here", "--screen", "PORT"], False),
    ],
)
def test_every_form_but_the_screen_at_port_and_id_follows(
    start: Start, arguments: list[str], follows: bool
) -> None:
    """By default, every form follows redirects, except the screen with a port and an id."""
    leader = start(store(), "s1")
    sorry = not_leader("s1", "localhost", leader.port)
    port = str(start(lambda _: sorry, "s2").port)
    done = run(*(port if each == "PORT" else each for each in arguments), typed="get ana\n")
    name = "client1" if "1" in arguments else "client"
    assert leader.received == [f"{name}@get ana"] * follows
    assert (sorry in done.stdout, "\n4\n" in done.stdout.replace(": ", "\n")) == (
        not follows,
        follows,
    )
    assert done.returncode == (0 if follows or "--screen" in arguments else 3)


@pytest.mark.parametrize("command", ["set a 5", "get a"])
def test_here_asks_no_other_node(start: Start, command: str) -> None:
    leader = start(store(), "s1")
    follower = start(lambda _: not_leader("s1", "localhost", leader.port), "s2")
    assert run(follower.port, 1, "--here", *command.split()).returncode == 3
    assert (leader.received, follower.received) == ([], [f"client1@{command}"])


@pytest.mark.parametrize("place", ["localhost:{}", "127.0.0.1:{}", ":{}", "{}"])
def test_a_port_may_have_its_host_before_it(start: Start, place: str) -> None:
    port = start(store()).port
    assert run(place.format(port), 1, "get", "ana").stdout == "GET response: 4\n"
    done = run("--also", place.format(port), free_port(), 1, "get", "ana")
    assert done.stdout == "GET response: 4\n"


def test_an_address_in_the_form_of_a_sorry_line_is_accepted() -> None:
    options = read_options(parser(), ["[::1]:10000", "1", "--also", "::1:10001"])
    assert (options.node, options.also) == (("::1", 10000), [("::1", 10001)])


def test_without_an_id_a_client_speaks_as_client(start: Start) -> None:
    node = start(store())
    for words in (["get", "ana"], ["get ana"], ["--", "get", "ana"]):
        assert run(node.port, *words).stdout == "GET response: 4\n"
    assert run(node.port, typed="get ana\n").stdout == "GET response: 4\n"
    assert node.received == ["client@get ana"] * 4


@pytest.mark.parametrize(
    "command",
    [
        "foo", "get", "get a b", "set a", "incr a x", r"set a \q", "show a b c", "transfer !",
        "add s4", "remove !", "session x", "set a 1\r", "set a 1\n", "set a \0", "#",
    ],
)  # fmt: skip
def test_a_mistyped_command_ends_with_the_usage_exit_code(start: Start, command: str) -> None:
    refusals = start(lambda _: error("it is refused"))
    for form in ("--here", "--json"):
        done = run(refusals.port, 1, form, "--", command.replace("\0", "\udcff"))
        assert done.returncode == 2, done.stdout
    assert json.loads(done.stdout)["code"] == 2
    assert run(refusals.port, 1, "set", "a", "9" * 2000).returncode == 5


def test_a_reader_that_leaves_early_causes_no_error(start: Start) -> None:
    command = [sys.executable, str(SOURCE / "client.py"), str(start(store()).port), "1"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as client:
        assert client.stdout is not None
        client.stdout.close()
        assert client.stdin is not None
        client.stdin.write(b"get ana\n")
        client.stdin.close()
        assert client.stderr is not None
        assert without_notices(client.stderr.read().decode()) == ""
        assert client.wait(DEADLINE_S) == 0
