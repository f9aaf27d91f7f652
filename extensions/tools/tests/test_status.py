"""`raftline status` against scripted nodes: a table, JSON, and exit codes."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import pytest

from raftline import cli
from raftline.common.address import Address
from raftline.common.extensions import is_there
from raftline.tools.status import status, status_report
from raftline.wire.refusal import FULL, NO_USERS_YET, STOPPING, TLS_ONLY
from raftline_testing.doubles.scripted_node import scripted_nodes
from raftline_testing.doubles.status_nodes import (
    FOLLOWER,
    LEADER,
    cluster_of,
    free_port,
    line_of,
    scripted_node,
)


def table_of(output: str) -> list[list[str]]:
    return [line.split() for line in output.splitlines()]


def test_the_table_shows_every_node_and_the_dead_as_unreachable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with cluster_of(tmp_path, line_of(LEADER), line_of(FOLLOWER)) as command:
        code = cli.main(command)
    output, errors = capsys.readouterr()
    heading, *rows, _ = table_of(output)
    assert heading == [
        "node",
        "address",
        "role",
        "term",
        "leader",
        "last",
        "committed",
        "applied",
        "lag",
        "snapshot",
        "log",
    ]
    assert [[row[0], *row[2:]] for row in rows] == [
        ["s1", "leader", "3", "s1", "12", "10", "10", "0", "8", "20.5kB"],
        ["s2", "follower", "3", "s1", "12", "9", "7", "3", "-", "-"],
        ["s3", "unreachable", "-", "-", "-", "-", "-", "-", "-", "-"],
    ]
    assert output.splitlines()[-1] == "[*] s1 leads term 3: 2 of 3 voters follow; none may fail"
    assert "connection refused" in errors
    assert code == 0  # a leader, and 2 of 3 reachable


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0B"), (999, "999B"), (1000, "1.0kB"), (99_960, "100.0kB"), (131_000_000, "131MB"),
     (2 * 10**12, "2.0TB"), (None, "-"), (True, "-"), ("x", "-")],
)  # fmt: skip
def test_the_length_of_the_log_is_one_word(size: object, shown: str) -> None:
    assert status_report._files({"log_bytes": size}) == ("-", shown)


@pytest.mark.parametrize(("since", "port"), [("x", 1), (None, 1), (7, "9" * 5000), (7, "²")])
def test_a_status_with_malformed_members_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], since: object, port: object
) -> None:
    odd = {**LEADER, "members_since": since, "members": {"s9": f"localhost:{port}"}}
    with cluster_of(tmp_path, line_of(odd), line_of(FOLLOWER)) as command:
        assert cli.main(command) in (0, 3)
    assert "s1" in capsys.readouterr().out


@pytest.mark.parametrize("as_json", [False, True])
def test_voter_without_entries_is_named_after_a_second_look(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    as_json: bool,
) -> None:
    """A voter that gets no entries is named after a second look."""
    monkeypatch.setattr(status_report, "SECOND_CHECK_S", 0)
    behind = {**FOLLOWER, "last_index": 5, "commit_index": 5, "last_applied": 5}
    voters = {"voters": ["s1", "s2"]}
    with cluster_of(tmp_path, line_of({**LEADER, **voters}), line_of(behind)) as command:
        assert cli.main([*command, "--json"] if as_json else command) == 3
    output = capsys.readouterr().out
    why = "lacks committed entries and gets none"
    if as_json:
        assert [node["troubles"] for node in json.loads(output)] == [[], [why], []]
    else:
        assert output.splitlines()[-1].startswith("[!] no quorum for s1, leader of term 3: 1 of 2")
        assert f"; s2 {why}. Check its console" in output


def test_json_is_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with cluster_of(tmp_path, line_of(LEADER), line_of(FOLLOWER)) as command:
        code = cli.main([*command, "--json"])
    nodes = json.loads(capsys.readouterr().out)
    assert [node["name"] for node in nodes] == ["s1", "s2", "s3"]
    assert [node["reachable"] for node in nodes] == [True, True, False]
    assert nodes[1]["lag"] == 3
    assert (nodes[0]["snapshot_index"], nodes[0]["log_bytes"]) == (8, 20_480)
    assert nodes[2]["problem"] == "connection refused"
    assert code == 0


FIELDS = [
    "name", "address", "role", "term", "leader", "last_index", "commit_index", "last_applied",
    "lag", "snapshot_index", "log_bytes",
]  # fmt: skip


def test_json_of_a_node_has_a_field_for_each_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The JSON of each node has a field for each column of the table."""
    assert len(FIELDS) == len(status_report.COLUMNS)
    with cluster_of(tmp_path, line_of(LEADER), line_of(FOLLOWER)) as command:
        cli.main([*command, "--json"])
    leader, follower, dead = json.loads(capsys.readouterr().out)
    assert [set(FIELDS) - node.keys() for node in (leader, follower, dead)] == [set()] * 3
    assert [node["role"] for node in (leader, follower, dead)] == [
        "leader",
        "follower",
        "unreachable",
    ]
    assert follower["log_bytes"] is None
    assert [dead[field] for field in FIELDS[3:]] == [None] * 8


def test_status_reports_no_service_for_a_leader_without_a_quorum(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with cluster_of(tmp_path, line_of(LEADER)) as command:  # 1 of 2 is not a majority
        assert cli.main(command) == 3
    assert "leader" in capsys.readouterr().out


def test_status_reports_no_service_for_a_quorum_without_a_leader(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    candidate = {**LEADER, "role": "candidate", "leader": None}
    with cluster_of(tmp_path, line_of(candidate), line_of(FOLLOWER)) as command:
        assert cli.main(command) == 3
    assert table_of(capsys.readouterr().out)[1][2:5] == ["candidate", "3", "-"]


def test_a_recovering_node_is_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recovering = {**FOLLOWER, "recovering": True}
    with cluster_of(tmp_path, line_of(LEADER), line_of(recovering)) as command:
        cli.main(command)
    assert "follower (recovering)" in capsys.readouterr().out


def test_a_node_that_is_being_refilled_is_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refilled = {**FOLLOWER, "arriving_bytes": 262_144}
    with cluster_of(tmp_path, line_of(LEADER), line_of(refilled)) as command:
        cli.main(command)
    assert "follower (receives a snapshot)" in capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "has_colours"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_a_terminal_shows_the_same_columns_in_colours(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], has_colours: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    host = "a-host-with-a-long-name.example.org"
    facts = {**LEADER, "term": 123_456_789}
    nodes = [
        status.NodeStatus("s1", Address(host, 10000), facts),
        status.NodeStatus("s2", Address(host, 10001), FOLLOWER),
        status.NodeStatus("s3", Address(host, 10002), None, "nothing listens there"),
    ]
    plain, terminal = io.StringIO(), Terminal()
    status_report.show(nodes, plain)
    status_report.show(nodes, terminal)
    heading, leader, follower, silent = plain.getvalue().splitlines()
    assert "\x1b" not in plain.getvalue()
    assert terminal.getvalue().splitlines() == (
        [heading, f"\x1b[1;32m{leader}\x1b[0m", follower, f"\x1b[31m{silent}\x1b[0m"]
        if has_colours
        else [heading, leader, follower, silent]
    )


@pytest.mark.parametrize(
    ("reply", "word", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not a node", "answers: HTTP/1.1 400 Bad Request"),
        (b"s2@STATUS response: {half\n", "unreadable", "its status is not JSON"),
        (b"s2@STATUS response: " + b"[" * 50_000 + b"\n", "unreadable", "its status is not JSON"),
        (b"s2@STATUS response: []\n", "unreadable", "its status is not a JSON object"),
        (b's2@STATUS response: {"name": "s2"}\n', "unreadable", "its status lacks role"),
        (line_of({**FOLLOWER, "term": True}), "unreadable", "its status lacks term"),
        (line_of({**FOLLOWER, "term": "3"}), "unreadable", "its status lacks term"),
        (line_of({**FOLLOWER, "name": "s7"}), "other node", "s7 answers there"),
        (line_of({**FOLLOWER, "voters": 5}), "unreadable", "has voters that can't be read"),
        (line_of({**FOLLOWER, "learners": [[]]}), "unreadable", "has learners that can't be read"),
        (line_of({**FOLLOWER, "members": {"a\x1b[2J": "h:1"}}), "unreadable",
         "has members that can't be read"),
        (line_of({**FOLLOWER, "members_since": None}), "unreadable",
         "members_since that can't be read"),
        (b"\x1b[2J\xff\n", "not a node", "answers: \\x1b[2J"),
        (b"", "no answer", "closed the connection without an answer"),
        (b"s2@STATUS resp", "no answer", "closed the connection without an answer"),
        (b"x" * 100_000, "not a node", "its answer is not a status line"),
        (f"s2@{STOPPING}\n".encode(), "stopping", "answers: this server is stopping"),
    ],
)  # fmt: skip
def test_a_node_that_gives_no_status_counts_as_no_voter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reply: bytes, word: str, why: str
) -> None:
    with cluster_of(tmp_path, line_of(LEADER), reply) as command:
        assert cli.main(command) == 3
    output, errors = capsys.readouterr()
    assert f"  {word}  " in output.splitlines()[2]
    assert why in errors
    assert "\x1b" not in output + errors


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (b"s2@Sorry, a client without a login may not read the status: it takes a right.\n",
         "no login"),
        (b"s2@Sorry, bob may not read the status: no role allows it.\n", "not allowed"),
        (f"s2@{TLS_ONLY}\n".encode(), "TLS alone"),
        (f"s2@{FULL}\n".encode(), "full"),
        (f"s2@{NO_USERS_YET}\n".encode(), "no users yet"),
        (b"s2@Sorry, I don't understand: status\n", "refuses"),
    ],
)  # fmt: skip
def test_a_node_that_lets_nobody_in_is_not_a_dead_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reply: bytes, word: str
) -> None:
    status = 8 if word == "TLS alone" else 5
    with cluster_of(tmp_path, line_of(LEADER), reply) as command:
        assert cli.main(command) == status
        output, errors = capsys.readouterr()
        assert cli.main([*command, "--json"]) == status
        found = json.loads(capsys.readouterr().out)[1]
    assert f"  {word}  " in output.splitlines()[2]
    assert output.splitlines()[-1].startswith(
        f"[!] can't tell whether a leader serves: {word} at s2; 2 of 3 voters answer"
    )
    assert "s2 (127.0.0.1:" in errors
    assert (found["role"], found["reachable"], found["term"]) == (word, True, None)
    assert found["problem"].startswith("answers: ")
    assert "Sorry" not in found["problem"]


def test_a_silent_node_is_given_up_after_the_timeout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with cluster_of(tmp_path, line_of(LEADER), None) as command:
        assert cli.main([*command, "--timeout", "0.2"]) == 3
    assert "no answer within 0.2 s" in capsys.readouterr().err


def test_of_two_leaders_the_newer_one_counts() -> None:
    address = Address("localhost", 1)
    old = status.NodeStatus("s1", address, {**LEADER, "term": 3})
    new = status.NodeStatus("s2", address, {**LEADER, "name": "s2", "term": 4})
    leader = status.leader_of([new, old])
    assert leader is new


@pytest.mark.parametrize(
    "arguments",
    [["status", "--timeout", "0"], ["status", "--timeout", "nan"], ["status", "--watch", "0"],
     ["dance"]],
)  # fmt: skip
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert (said.startswith("raftline"), said.count("\n")) == (True, 1)
    assert said.endswith(" --help\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["controller", "localhost:abc", "TIMEOUT"], "TARGET: 'abc' is not a port"),
        (["controller", "a b:10000", "TIMEOUT"], "'a b:10000' is neither a node's name nor HOST"),
        (["controller", "a..b:10000", "TIMEOUT"], "'a..b:10000' is neither a node's name nor HOST"),
        (["up", "--base-port", "65534", "--dir", "new"], "65534 on need ports up to 65536"),
        (["restore", "FILE", "new", "--members", "s1=a:1", "s1=b:2"], "--members:2: s1 appears"),
        (["restore", ".", "new", "--members", "s1=a:1"], ".: is not a file"),
        (["fsck", "--dir", "new", "s1"], "raftline: new: there is no such folder\n"),
        (["fsck", "--dir", "new"], "raftline: new: there is no such folder\n"),
        (["fsck", "--dir", ".", "s1"], "s1: there is no such folder, and no node of that name has"),
        (["fsck", "here.txt"], "check a backup: raftline backup here.txt --check"),
        (["fsck", "nodir"], "nodir: there is no such folder, and no logs/server-configuration.txt"),
        (["fsck", "not/there"], "not/there: there is no such folder, and no node can have that "),
        (["server", "1", "31000", "--dir", "."], "'1' is not the name of a node: a letter, then"),
    ],
)
def test_a_wrong_argument_is_named(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.txt").touch()
    assert cli.main(arguments) in (2, 3)
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_the_controller_help_shows_the_orders_as_typed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["controller", "--help"])
    said = capsys.readouterr().out
    assert "PERCENT% " in said


def test_a_missing_configuration_ends_with_2_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["status", "--dir", str(tmp_path)]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    why = "there is no cluster here, as server-configuration.txt is missing"
    where = "say where it is: --dir FOLDER, --at HOST:PORT, or $RAFTLINE"
    assert errors == f"raftline: {tmp_path}: {why}; {where}\n"


def test_raftline_alone_prints_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    output = capsys.readouterr().out
    assert all(command in output for command in ("up", "status", "server", "client"))


@pytest.mark.parametrize("by", ["option", "variable"])
def test_status_asks_the_members_that_one_address_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    with contextlib.ExitStack() as stack:
        follower = stack.enter_context(scripted_node(line_of(FOLLOWER)))
        dead = stack.enter_context(free_port())
        members = {"s2": f"127.0.0.1:{follower}", "s3": f"127.0.0.1:{dead}"}
        knows = {**LEADER, "members": members, "members_since": 3, "voters": ["s1", "s2", "s3"]}
        leader = stack.enter_context(scripted_node(line_of(knows)))
        at = f"127.0.0.1:{leader},127.0.0.1:{dead}"
        monkeypatch.setenv("RAFTLINE", at if by == "variable" else "127.0.0.1:1")
        words = ["--at", at] if by == "option" else []
        assert cli.main(["status", *words, "--timeout", "10"]) == 0
    _, *rows, verdict = table_of(capsys.readouterr().out)
    assert [row[:3] for row in rows] == [
        ["s1", f"127.0.0.1:{leader}", "leader"],
        ["s3", f"127.0.0.1:{dead}", "unreachable"],
        ["s2", f"127.0.0.1:{follower}", "follower"],
    ]
    assert " ".join(verdict) == "[*] s1 leads term 3: 2 of 3 voters follow; none may fail"


def test_silent_node_with_two_forms_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A silent node whose address is written otherwise is shown once."""
    with free_port() as dead, scripted_nodes() as start:
        known = ""
        node = start(lambda _: known)
        members = {"s1": f"localhost:{node.port}", "s2": f"localhost:{dead}"}
        facts = {"name": "s1", "role": "follower", "term": 1, "leader": None, "members": members,
                 "last_index": 1, "commit_index": 1, "last_applied": 1, "voters": ["s1", "s2"],
                 "members_since": 0}  # fmt: skip
        known = f"STATUS response: {json.dumps(facts)}"
        at = f"127.0.0.1:{node.port},127.0.0.1:{dead}"
        assert cli.main(["status", "--at", at, "--timeout", "10"]) == 3
    _, *rows, _ = table_of(capsys.readouterr().out)
    assert [row[:2] for row in rows] == [["s1", f"127.0.0.1:{node.port}"], ["s2", members["s2"]]]


@pytest.mark.parametrize("alias", ["127.0.0.1", "LOCALHOST"])
def test_a_silent_address_that_is_given_twice_is_shown_once(
    capsys: pytest.CaptureFixture[str], alias: str
) -> None:
    with free_port() as dead:
        at = f"localhost:{dead},{alias}:{dead}"
        assert cli.main(["status", "--at", at, "--timeout", "10"]) == 5
    _, *rows, _ = table_of(capsys.readouterr().out)
    assert [row[0] for row in rows] == [f"localhost:{dead}"]


def test_user_with_prefixes_sees_the_members_of_one_address(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Such a user gets neither the voters nor any count."""
    known = {"term": 3, "leader": "s1", "recovering": False}
    with contextlib.ExitStack() as stack:
        leader = {**known, "name": "s1", "role": "leader"}
        first = stack.enter_context(scripted_node(line_of(leader)))
        members = {"s1": f"127.0.0.1:{first}", "s2": "127.0.0.1:1"}
        follower = {**known, "name": "s2", "role": "follower", "members": members}
        at = stack.enter_context(scripted_node(line_of(follower)))
        assert cli.main(["status", "--at", f"127.0.0.1:{at}", "--timeout", "10"]) == 0
    _, *rows, verdict = table_of(capsys.readouterr().out)
    assert [row[:5] for row in rows] == [
        ["s2", f"127.0.0.1:{at}", "follower", "3", "s1"],
        ["s1", f"127.0.0.1:{first}", "leader", "3", "s1"],
    ]
    assert " ".join(verdict) == "[*] s1 leads term 3: 2 of 2 voters follow; none may fail"


def test_two_nodes_of_one_name_are_both_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """They are of two clusters. One node at two of its addresses is shown once."""
    by_place = [{**LEADER, "members": {"s1": place}, "voters": ["s1"]} for place in ("h:1", "h:2")]
    one, other = map(line_of, by_place)
    with scripted_node(one) as first, scripted_node(other) as second, scripted_node(one) as again:
        at = f"127.0.0.1:{first},127.0.0.1:{second},127.0.0.1:{again}"
        assert cli.main(["status", "--at", at, "--timeout", "10"]) == 0
    output, errors = capsys.readouterr()
    _, *rows, _ = table_of(output)
    where = f"127.0.0.1:{second}"
    assert [row[:4] for row in rows] == [
        ["s1", f"127.0.0.1:{first}", "leader", "3"],
        [where, where, "other", "s1"],
    ]
    assert errors == (
        f"{where} ({where}): another node named s1 answers there, not of the cluster above\n"
    )


def test_an_address_where_no_node_answers_stands_for_its_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with free_port() as dead, scripted_node(b"hello\n") as other:
        at = f"127.0.0.1:{dead},127.0.0.1:{other},127.0.0.1:{dead}"
        assert cli.main(["status", "--at", at, "--timeout", "10"]) == 5
    output, errors = capsys.readouterr()
    _, *rows, _ = table_of(output)
    where = [f"127.0.0.1:{dead}", f"127.0.0.1:{other}"]
    words = ["unreachable", "not"]  # a node
    assert [row[:3] for row in rows] == [
        [place, place, word] for place, word in zip(where, words, strict=True)
    ]
    assert f"{where[0]} ({where[0]}): connection refused" in errors


@pytest.mark.parametrize(
    "command",
    [
        *("status", "members", "transfer", "remove s1", "backup FILE", "get a"),
        *(["view"] if is_there("picture") else []),
    ],
)
def test_commands_that_ask_a_cluster_take_addresses_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Each command that asks a cluster takes its addresses in one way."""
    assert cli.main([*command.split(), "--at", "h1:1", "--dir", str(tmp_path)]) == 2
    said = "raftline: --at and --dir both say where to ask; give one of them\n"
    assert capsys.readouterr().err == said


def test_a_certificate_that_ends_soon_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = {**LEADER, "certificates_end": {"certificate": 1_000_000_000, "ca": 250_000_000_000}}
    odd = {**FOLLOWER, "certificates_end": {"certificate": "soon", "ca": 10**30}}
    with cluster_of(tmp_path, line_of(ends), line_of(odd)) as command:
        assert cli.main(command) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "expired" in line]
    assert said == ["[!] s1: its certificate has expired: 2001-09-09 01:46 UTC"]
