"""`raftline get`, `set`, `delete` and `show`: where they ask, what they print, how they end."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from raftline.tools.status import status_report
from raftline.wire.limits import VALUE_BYTES
from raftline.wire.refusal import error, not_leader, outcome_unknown
from raftline.wire.replies.replies import Reply, as_json
from raftline_testing.doubles import in_process
from raftline_testing.doubles.scripted_node import Start, free_port, store
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S, eventually


def raftline(
    folder: Path, *words: object, at: str | None = None, typed: bytes = b""
) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder`, with $RAFTLINE as given; errors are one line at most."""
    environment = {key: value for key, value in os.environ.items() if key != "RAFTLINE"}
    environment |= {} if at is None else {"RAFTLINE": at}
    done = in_process.raftline(*words, folder=folder, environment=environment, typed=typed)
    assert done.stderr.count("\n") <= 1, done.stderr
    return done


def test_each_client_verb_is_a_shell_command(start: Start, tmp_path: Path) -> None:
    node = start(store())

    def answer(*words: str) -> tuple[str, int]:
        done = raftline(tmp_path, *words, at=f"localhost:{node.port}")
        return done.stdout + done.stderr, done.returncode

    said = "SET response: my\\skey set to two  words\n"
    assert answer("set", "my key", "two", " words") == (said, 0)
    assert answer("get", "my key") == answer("get", "my key", "-q") == ("two  words\n", 0)
    assert answer("get", "my key", "--raw") == ("two  words", 0)
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
        (["set", "k", "--", "--nonsense"], "set k --nonsense"),
        (["set", "k", "a", "--timeout", "5", "b"], "set k a b"),
        (["set", "k", "-1.5", "--timeout=5"], "set k -1.5"),
        (["set", "k", "--", "-"], "set k -"),
        (["set", "k", "a", "-"], "set k a -"),
        (["set", "k", "v", "--ttl", "60"], "setex k 60 v"),
        (["setnx", "k", "v", "w"], "setnx k v w"),
        (["cas", "my key", "an old", "a new"], r"cas my\skey an\sold a new"),
        (["incr", "k", "-5"], "incr k -5"),
        (["append", "k", "v"], "append k v"),
        (["expire", "k", "60"], "expire k 60"),
        (["persist", "k"], "persist k"),
        (["ttl", "k"], "ttl k"),
        (["leases"], "leases"),
        (["clear", "my "], r"clear my\s"),
        (["object", "k", "list.append", '{"a": "b c"}'], 'object k list.append {"a": "b c"}'),
        (["set", "--timeout", "5", "--", "-k", "--at"], "set -k --at"),
        (["--timeout", "5", "--json", "get", "k"], "get k"),
        (["--", "get", "-k"], "get -k"),
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


ANY_BYTES = b"two\nlines, \\ and \xff\x00 "


def test_a_value_goes_in_and_comes_out_as_its_bytes(start: Start, tmp_path: Path) -> None:
    at = f"localhost:{start(store()).port}"
    (tmp_path / "file").write_bytes(ANY_BYTES)
    assert raftline(tmp_path, "set", "typed", "-", at=at, typed=ANY_BYTES).returncode == 0
    assert raftline(tmp_path, "set", "--from", "file", "read", at=at).returncode == 0
    for key in ("typed", "read"):
        assert get_bytes(tmp_path, "--raw", key, at=at) == ANY_BYTES
        for form in ([key], ["-q", key]):
            assert get_bytes(tmp_path, *form, at=at) == ANY_BYTES + b"\n"
    shown = json.loads(raftline(tmp_path, "get", "--json", "read", at=at).stdout)
    assert (shown["value"], base64.b64decode(shown["base64"])) == (None, ANY_BYTES)
    gone = raftline(tmp_path, "get", "gone", at=at)
    assert (gone.stdout, gone.stderr) == ("", "GET response, no such key: gone\n")


@pytest.mark.parametrize("words", [["a", "--from", "file"], ["a", "--from", "-"], ["a", "-"]])
def test_a_value_from_a_file_is_not_printed(start: Start, tmp_path: Path, words: list[str]) -> None:
    """It may be long, and its bytes mean nothing on a terminal."""
    at = f"localhost:{start(store()).port}"
    (tmp_path / "file").write_bytes(ANY_BYTES * 100)
    done = raftline(tmp_path, "set", *words, at=at, typed=ANY_BYTES * 100)
    assert (done.stdout, done.stderr, done.returncode) == (
        "SET response: a set to a value of 2,000 bytes\n", "", 0
    )  # fmt: skip
    assert get_bytes(tmp_path, "--raw", "a", at=at) == ANY_BYTES * 100
    shown = raftline(tmp_path, "set", *words, "--json", at=at, typed=b"short")
    assert '"key": "a"' in shown.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ana"], (0, "EXISTS response: ana exists\n", "")),
        (["-q", "ana"], (0, "", "")),
        (["a b"], (1, "EXISTS response, no such key: a\\sb\n", "")),
        (["-q", "bob"], (1, "", "EXISTS response, no such key: bob\n")),
    ],
)
def test_exists_has_the_answer_in_its_exit_status(
    start: Start, tmp_path: Path, words: list[str], expected: tuple[int, str, str]
) -> None:
    done = raftline(tmp_path, "exists", *words, at=f"localhost:{start(store()).port}")
    assert (done.returncode, done.stdout, done.stderr) == expected


def get_bytes(folder: Path, *words: str, at: str) -> bytes:
    return subprocess.run(
        [sys.executable, "-m", "raftline", "get", *words],
        env={**os.environ, "RAFTLINE": at},
        cwd=folder,
        check=True,
        capture_output=True,
    ).stdout


def test_a_value_beyond_the_limit_is_refused_before_it_is_sent(
    start: Start, tmp_path: Path
) -> None:
    node = start(store())
    at = f"localhost:{node.port}"
    done = raftline(tmp_path, "set", "k", "-", at=at, typed=b"x" * (VALUE_BYTES + 1))
    assert (
        done.stderr == "raftline: standard input: holds more than the 1,048,576 bytes of a value\n"
    )
    assert (done.returncode, node.received) == (2, [])


def paged(count: int, page: int) -> Callable[[str], str]:
    """Return what answers like a node whose pages are that short."""
    pairs = {f"k/{number:03}": str(number) for number in range(count)}

    def answer(line: str) -> str:
        asked = line.rpartition("@")[2]
        after = asked.partition(" after ")[2].partition(" ")[0]
        rest = [key for key in pairs if key > after]
        shown = {key: pairs[key] for key in rest[:page]}
        more = f" more: show k/ after {rest[page - 1]}" if len(rest) > page else ""
        return f"SHOW response: {json.dumps(shown)}{more}"

    return answer


def test_a_listing_continues_to_its_end(start: Start, tmp_path: Path) -> None:
    node = start(paged(7, 3))
    at = f"localhost:{node.port}"

    def printed(*words: str) -> str:
        return raftline(tmp_path, *words, at=at).stdout

    pairs = {f"k/{number:03}": str(number) for number in range(7)}
    assert printed("show", "k/") == f"SHOW response: {json.dumps(pairs)}\n"
    assert json.loads(printed("show", "-q", "k/")) == pairs
    assert json.loads(printed("show", "k/", "--json")) == {
        "ok": True,
        "verb": "show",
        "pairs": pairs,
    }
    assert (
        printed("keys", "k/") == printed("show", "--keys", "k/") == "".join(f"{k}\n" for k in pairs)
    )
    assert json.loads(printed("keys", "--json"))["keys"] == [*pairs]
    assert printed("count", "k/") == printed("show", "k/", "--count") == "7\n"
    assert json.loads(printed("count", "--json"))["count"] == 7
    node.received.clear()
    printed("show", "k/", "read", "local")
    assert [line.partition("@")[2] for line in node.received] == [
        "show k/ read local",
        "show k/ after k/002 read local",
        "show k/ after k/005 read local",
    ]


def test_a_listing_ends_at_its_limit_and_says_so(start: Start, tmp_path: Path) -> None:
    node = start(paged(7, 3))
    at = f"localhost:{node.port}"
    done = raftline(tmp_path, "keys", "--limit", "3", at=at)
    assert done.stdout == "k/000\nk/001\nk/002\n"
    assert done.stderr == "[*] These are the first 3; there are more.\n"
    shown = json.loads(raftline(tmp_path, "show", "--json", "--limit", "4", at=at).stdout)
    assert (len(shown["pairs"]), shown["more"]) == (4, True)
    done = raftline(tmp_path, "count", "--limit", "7", at=at)
    assert (done.stdout, done.stderr) == ("7\n", "")


def test_a_key_that_would_be_two_lines_is_escaped(start: Start, tmp_path: Path) -> None:
    """So is one that would turn the direction of the line."""
    pairs = json.dumps({"a\nb": "", "c d": "", "\udcff": "", r"\xff": "", "\u202elive": ""})
    node = start(lambda _: f"SHOW response: {pairs}")
    done = raftline(tmp_path, "keys", at=f"localhost:{node.port}")
    assert done.stdout.splitlines() == [
        r"a\nb", "c d", r"\xff", r"\\xff", r"\xe2\x80\xaelive",
    ]  # fmt: skip


def test_an_object_has_what_is_not_a_text_apart_in_base64(start: Start, tmp_path: Path) -> None:
    pairs = json.dumps({r"\xff": "literal", "\udcff": "5", "value": "\udcfe", "a": r"\xfe"})
    node = start(lambda _: f"SHOW response: {pairs}")
    at = f"localhost:{node.port}"
    printed = raftline(tmp_path, "show", "--json", at=at).stdout
    assert json.loads(printed) == {
        "ok": True,
        "verb": "show",
        "pairs": {r"\xff": "literal", "a": r"\xfe"},
        "base64": {"/w==": "NQ==", "dmFsdWU=": "/g=="},
    }
    keys = json.loads(raftline(tmp_path, "keys", "--json", at=at).stdout)
    assert (keys["keys"], keys["base64"]) == ([r"\xff", "value", "a"], ["/w=="])
    quiet = raftline(tmp_path, "show", "-q", at=at).stdout
    assert quiet.startswith(r'{"\\xff": "literal", "\\xff": "5", "value": "\\xfe"')
    of_client = json.loads(as_json("show", Reply("", f"SHOW response: {pairs}")))
    assert of_client["base64"] == {"/w==": "NQ==", "dmFsdWU=": "/g=="}
    got = json.loads(as_json(r"get \xff", Reply("", r"GET response: \xfe")))
    assert (got["key_base64"], got["value"], got["base64"]) == ("/w==", None, "/g==")


def test_a_listing_whose_later_page_fails_says_so(start: Start) -> None:
    first = paged(7, 3)
    refused = error("the state is being read. Nothing was done.")
    node = start(lambda line: refused if " after " in line else first(line))
    done = in_process.raftline(
        "show", "--timeout", "1", environment={**os.environ, "RAFTLINE": f"localhost:{node.port}"}
    )
    assert done.returncode == 5
    assert done.stdout.startswith('SHOW response: {"k/000": "0"')
    assert done.stderr == f"\n{refused}\n"


def test_command_tries_option_variable_then_folder_nodes(start: Start, tmp_path: Path) -> None:
    """A command tries the option, then the variable, then the folder's nodes."""
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
    first = raftline(tmp_path, "--at", f"localhost:{said.port}", "get", "a", at=at)
    assert first.stdout == "said\n"
    assert asked(at=at) == "variable\n"
    assert asked("--dir", ".", at=at) == "other\n"
    assert asked(at="") == asked(at=None) == "folder\n"


def test_a_command_finds_the_leader_past_nodes_that_are_down(start: Start, tmp_path: Path) -> None:
    leader = start(store(), "s1")
    follower = start(lambda _: not_leader("s1", "localhost", leader.port), "s2")
    at = f"localhost:{free_port()}, localhost:{follower.port}"
    assert raftline(tmp_path, "set", "a", "5", at=at).stdout == "SET response: a set to 5\n"
    assert raftline(tmp_path, "get", "a", at=at).stdout == "5\n"
    assert leader.asked == ["raftline@stat ping", "raftline@set a 5", "raftline@get a"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["get"], "raftline get: error: KEY is missing. usage: raftline get [options] KEY"),
        (
            ["get", "a", "b"],
            "raftline get: error: get takes one key; quote it if it has spaces: get 'a b'",
        ),
        (["set"], "raftline set: error: KEY is missing. "),
        (["set", "a"], "raftline set: error: VALUE is missing. "),
        (["set", "", "x"], "raftline set: error: KEY is empty; a key has at least one character"),
        (["get", ""], "raftline get: error: KEY is empty; a key has at least one character"),
        (["set", "a", "--timeout=5"], "raftline set: error: VALUE is missing. "),
        (["set", "a", "b", "--from", "f"], "--from and VALUE both give the value; give one of "),
        (["set", "a", "--from", "gone"], "raftline: --from gone: No such file or directory"),
        (["set", "a", "b", "--tttl", "5"], "there is no option --tttl; did you mean --ttl? Put "),
        (["lease", "--keep", "0"], 'raftline lease: error: "0" is not a lease time: '),
        (["show", "--limit", "0"], "error: argument --limit: '0' is not a number of keys, 1 or"),
        (["count", "a", "b"], "count takes one prefix; quote it if it has spaces: count 'a b'"),
        (["watch", "a", "b"], "watch takes one prefix; quote it if it has spaces: watch 'a b'"),
        (
            ["show", "a", "after"],
            "raftline show: error: show takes [PREFIX] [after KEY] [with index]; ",
        ),
        (["leases", "a"], "raftline leases: error: leases takes no operands. Nothing was done. "),
        (["delete", "--nonsense", "a"], "raftline delete: error: there is no option --nonsense. "),
        (["get", "--at", "h", "a"], "raftline get: error: argument --at: 'h' is not an address: "),
        (["get", "--at", "h:1,", "a"], "raftline get: error: argument --at: '' is not an address"),
        (
            ["get", "--at", "h:1", "--dir", "d", "a"],
            "raftline: --at and --dir both say where ",
        ),
        (
            ["get", "--dir", "gone", "a"],
            "raftline: gone: there is no cluster here, as server-configuration.txt is missing",
        ),
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
    assert done.stderr.startswith("raftline: $RAFTLINE: 'h' is not an address: host:port, such as ")
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
    done = raftline(tmp_path, "get", "--timeout", "2", "--at", f"localhost:{port}", "a")
    assert (done.stdout, done.stderr, done.returncode) == ("", text + "\n", code)


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
    other = free_port()
    done = raftline(tmp_path, "count", at=f"localhost:{port},localhost:{other}")
    assert done.stderr.startswith(f"Sorry, nobody answers at localhost port {port}, {other}. ")
    done = raftline(tmp_path, "show", "--json", at=f"localhost:{port}")
    assert json.loads(done.stdout).items() >= {"ok": False, "verb": "show", "code": 5}.items()
    assert (done.stderr, done.returncode) == ("", 5)


def test_without_a_quorum_a_command_says_what_is_missing(
    three: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_report, "CHECK_S", DEADLINE_S)
    for node in three.nodes[1:]:
        node.kill()
    where = {**os.environ, "RAFTLINE": f"localhost:{three.nodes[0].port}"}
    done = in_process.raftline("set", "a", "1", "--timeout", "1", "-q", environment=where)
    assert done.returncode in (3, 4)  # as far as the node that is left knows of the others
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Sorry, ")
    assert "1 of 3 voters answers, 2 are needed" in last


def test_a_write_of_the_shell_is_one_entry(shared: Cluster, tmp_path: Path) -> None:
    """No session is begun for a single write, nor is one left behind."""
    leader = shared.leader()
    where = f"localhost:{leader.port}"
    leader.ask("object c list.append 0")  # the log names the extension now
    for words in (
        ["set", "a", "1"],
        ["set", "a", "1", "--ttl", "600"],
        ["setnx", "b", "1"],
        ["cas", "a", "1", "2"],
        ["incr", "a"],
        ["append", "a", "0"],
        ["object", "c", "list.append", "1"],
        ["expire", "a", "600"],
        ["persist", "a"],
        ["txn", "set", "a", "1", ";", "delete", "b"],
        ["delete", "a"],
        ["clear", "c"],
        ["lease", "600"],
    ):
        before = leader.status()["commit_index"]
        assert raftline(tmp_path, *words, at=where).returncode == 0, words
        after = leader.status()
        assert (after["commit_index"] - before, after["sessions"]) == (1, 0), words


def test_a_write_of_the_shell_is_sent_once(start: Start, tmp_path: Path) -> None:
    """A write that may have taken effect is not sent again, neither to its node nor to another."""
    others = start(store(), "s2")

    def breaks(message: str) -> str | None:
        return None if message.startswith("set ") else "STAT response, no such key: ping"

    node = start(breaks, "s1")
    at = f"localhost:{node.port},localhost:{others.port}"
    done = raftline(tmp_path, "set", "a", "5", at=at)
    assert done.stderr.startswith("Sorry, outcome unknown: localhost port ")
    assert "look with get before you send it again" in done.stderr
    assert (done.stdout, done.returncode) == ("", 4)
    assert [line for line in node.received if "set" in line] == ["raftline@set a 5"]
    assert [line for line in others.received if "set" in line] == []


def test_a_write_of_the_shell_is_not_sent_to_a_node_that_hangs(
    start: Start, tmp_path: Path
) -> None:
    is_over = threading.Event()

    def hang(_: str) -> None:
        is_over.wait(DEADLINE_S)

    hanging, leader = start(hang, "s1"), start(store(), "s2")
    at = f"localhost:{hanging.port},localhost:{leader.port}"
    done = raftline(tmp_path, "set", "a", "5", "--timeout", "4", at=at)
    is_over.set()
    assert (done.stdout, done.returncode) == ("SET response: a set to 5\n", 0)
    assert [line for line in hanging.received if "set" in line] == []


def test_quiet_commands_print_only_values_and_errors(three: Cluster, tmp_path: Path) -> None:
    where = f"localhost:{three.nodes[0].port}"

    def said(*words: str) -> tuple[int, str]:
        done = in_process.raftline(*words, "-q", environment={**os.environ, "RAFTLINE": where})
        return done.returncode, done.stdout + done.stderr

    leader = three.leader()
    (other, *_) = [node.name for node in three.nodes if node is not leader]
    assert said("transfer", other) == (0, "")
    assert said("status") == (0, "")
    assert said("member", "demote", other)[0] == 0
    assert said("member", "promote", other) == (0, "")
    assert said("check", "replicas") == (0, "")
    assert said("export", str(tmp_path / "rows")) == (0, "")
    assert said("import", str(tmp_path / "rows")) == (0, "")
    assert said("backup", str(tmp_path / "copy")) == (0, "")
    status, rows = said("member", "list")
    assert (status, len(rows.splitlines())) == (0, 3)
    status, line = said("transfer", "s9")
    assert (status != 0, line.startswith("Sorry, ")) == (True, True)


def test_a_lease_is_kept_for_as_long_as_the_program_runs(shared: Cluster, tmp_path: Path) -> None:
    where = f"localhost:{shared.nodes[0].port}"
    words = ["lease", "60", "--keep", "-q", "--at", where]
    with subprocess.Popen(
        [sys.executable, "-m", "raftline", *words], stdout=subprocess.PIPE, text=True
    ) as keeper:
        assert keeper.stdout is not None
        lease = keeper.stdout.readline().rstrip()
        done = raftline(tmp_path, "set", "--lease", lease, "here", "yes", at=where)
        assert done.returncode == 0
        keeper.send_signal(signal.SIGINT)
        assert keeper.wait() == 130
    gone = raftline(tmp_path, "get", "here", at=where)
    assert (gone.stdout, gone.returncode) == ("", 1)


def test_a_kept_lease_that_another_ends_ends_the_program(shared: Cluster, tmp_path: Path) -> None:
    where = f"localhost:{shared.nodes[0].port}"
    words = ["lease", "12", "--keep", "--json", "--at", where]
    with subprocess.Popen(
        [sys.executable, "-m", "raftline", *words], stdout=subprocess.PIPE, text=True
    ) as keeper:
        assert keeper.stdout is not None
        granted = json.loads(keeper.stdout.readline())
        assert (granted["ok"], granted["seconds"]) == (True, 12)
        assert raftline(tmp_path, "release", granted["lease"], at=where).returncode == 0
        lost = json.loads(keeper.stdout.readline())
        assert (lost["ok"], lost["code"], keeper.wait()) == (False, 124, 124)
        assert granted["lease"] in lost["error"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGALRM])
def test_a_signal_ends_a_watch_and_the_command_that_it_runs(
    shared: Cluster, tmp_path: Path, number: signal.Signals
) -> None:
    where = f"localhost:{shared.nodes[0].port}"
    raftline(tmp_path, "set", "ends/1", "1", at=where)
    program = "echo $$ >pid.new; mv pid.new pid; exec sleep 600"
    watch = [sys.executable, "-m", "raftline", "watch", "ends/", "--exec", program, "--at", where]
    with subprocess.Popen(watch, cwd=tmp_path, stdin=subprocess.DEVNULL) as watcher:
        eventually((tmp_path / "pid").exists, "the command runs")
        watcher.send_signal(number)
        assert watcher.wait(DEADLINE_S) == 128 + number
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_watch_runs_a_command_at_each_event(three: Cluster, tmp_path: Path) -> None:
    where = f"localhost:{three.nodes[0].port}"
    raftline(tmp_path, "set", "at/1", "two words", at=where)
    program = 'printf "%s %s [%s]\\n" "$RAFTLINE_KIND" "$RAFTLINE_KEY" "$(cat)" >>seen; false'
    watch = [sys.executable, "-m", "raftline", "watch", "at/", "--exec", program, "--at", where]
    with subprocess.Popen(watch, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as watcher:
        seen = tmp_path / "seen"
        eventually(lambda: seen.exists() and seen.read_text(), "the first event")
        raftline(tmp_path, "set", "at/1", "3; rm -r /", at=where)
        raftline(tmp_path, "delete", "at/1", at=where)
        eventually(lambda: seen.read_text().count("\n") == 3, "all events")
        assert watcher.stderr is not None
        said: list[str] = []  # each comes as its command has ended, maybe after a word on the nodes
        while len(said) < 3 and (line := watcher.stderr.readline()):
            said += [line] * line.startswith(f"[*] {program}")
        watcher.send_signal(signal.SIGINT)
        assert watcher.wait() == 130
        assert program not in watcher.stderr.read()
    lines = ["has at/1 [two words]", "set at/1 [3; rm -r /]", "delete at/1 []"]
    assert seen.read_text().splitlines() == lines
    assert said == [
        f"[*] {program}: exit code 1, at {kind} at/1\n" for kind in ("has", "set", "delete")
    ]
