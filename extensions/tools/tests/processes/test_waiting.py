"""The messages while an answer is awaited, and if none comes at all."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, cast

import pytest

from raftline import cli
from raftline.client import Client
from raftline.clients.connections import node_connection
from raftline.clients.connections.client_access import ClientAccess
from raftline.common import config
from raftline.common.address import Address
from raftline.tools.requests import members
from raftline.tools.status import status
from raftline_testing.doubles.scripted_node import DEADLINE_S, SOURCE, Start, free_port, store
from raftline_testing.nodes.processes import eventually

FACTS = {"name": "s2", "role": "leader", "term": 3, "leader": "s2", "last_index": 1}
FACTS |= {"commit_index": 1, "last_applied": 1}
MEMBERS = {"voters": ["s1", "s2"], "learners": [], "outgoing": [], "members_committed": True}
MEMBERS |= {"members": {"s1": "h:1", "s2": "h:2"}, "members_since": 0}


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print lines after a twentieth of a second instead of a second."""
    monkeypatch.setattr(node_connection, "SAID_AFTER_S", 0.05)


def cluster(folder: Path, *ports: int) -> list[str]:
    """Make a configuration of nodes on these ports; return the options that name it."""
    lines = [f"s{n} localhost {port}\n" for n, port in enumerate(ports, start=1)]
    (folder / config.FILE_NAME).write_text("".join(lines))
    return ["--dir", str(folder)]


@pytest.mark.parametrize(
    "command",
    ["members", "add s4 h 1", "remove s2", "replace s2 s4 h 1", "promote s2", "demote s2",
     "backup {folder}/new"],
)  # fmt: skip
def test_client_names_nodes_that_are_down_and_the_wait(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], soon: None, command: str
) -> None:
    """With all nodes down the client soon names them and the wait."""
    ports = sorted(free_port() for _ in range(3))
    options = [*cluster(tmp_path, *ports), "--timeout", "0.6"]

    def said() -> list[str]:
        """Return what is said; nothing where all stood still until the time was over."""
        code = cli.main([*command.format(folder=tmp_path).split(), *options])
        output, errors = capsys.readouterr()
        assert (code, output) == (5, "")
        return errors.splitlines() if errors.count("\n") > 1 else []

    waiting, end = eventually(said, "to be told while there is time")
    where = f"localhost port {', '.join(map(str, ports))}"
    assert waiting.startswith(f"[*] No answer yet: asking {where} for ")
    assert " s more. The last one: nothing listens on localhost port " in waiting
    assert end.startswith(f"Sorry, nobody answers at {where}. The last one: nothing listens on ")
    assert not (tmp_path / "new").exists()


def test_a_node_that_keeps_a_request_is_named_while_it_does(
    start: Start, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    called, said = threading.Event(), list[str]()

    def say(text: str) -> None:
        said.append(text)
        called.set()

    node = start(lambda _: f"GET response: {called.wait(DEADLINE_S)}")
    with Client(port=node.port, timeout_s=DEADLINE_S, on_wait=say) as client:
        assert client.request("get a") == "GET response: True"
        monkeypatch.setattr(node_connection, "SAID_AFTER_S", DEADLINE_S)
        assert client.request("get a") == "GET response: True"
    assert said == [
        f"No answer yet: waiting for localhost port {node.port}, at most {DEADLINE_S} s"
    ]


def test_client_reports_its_wait_on_stderr_unless_quiet(start: Start) -> None:
    """The client reports its wait on standard error unless quiet."""
    over, late_s = threading.Semaphore(0), [float(DEADLINE_S)]

    def late(_: str) -> str:
        over.acquire(timeout=late_s[0])
        return "GET response: 5"

    port = start(late).port
    with running("--timeout", DEADLINE_S, port, 1, "get", "a") as (client, said, complaints):
        assert complaints.readline() == (
            f"[*] No answer yet: waiting for localhost port {port}, at most {DEADLINE_S} s\n"
        )
        over.release()
        assert said.read() == "GET response: 5\n"
    with running("--timeout", DEADLINE_S, port, 1, "--screen") as (client, said, complaints):
        assert client.stdin
        client.stdin.write("get a\n")
        client.stdin.close()
        assert "[*] Sending: get a\n" in said
        assert said.readline().startswith("[*] No answer yet: ")
        over.release()
        assert complaints.read() == ""
    late_s[0] = 1.5
    with running("-q", port, 1, "get", "a") as (_, said, complaints):
        assert (said.read(), complaints.read()) == ("5\n", "")


@contextlib.contextmanager
def running(
    *arguments: object,
) -> Iterator[tuple[subprocess.Popen[str], TextIO, TextIO]]:
    """Run the client; yield its process, its standard output and its standard error."""
    with subprocess.Popen(
        [sys.executable, str(SOURCE / "client.py"), *map(str, arguments)],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as client:
        assert client.stdout
        assert client.stderr
        yield client, cast(TextIO, client.stdout), cast(TextIO, client.stderr)


def test_the_leader_is_asked_past_a_hanging_node(
    tmp_path: Path,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    over = threading.Event()
    still = start(lambda _: str(over.wait(DEADLINE_S)), "s1")
    replies: dict[str, Any] = {"status": FACTS, "members": MEMBERS}
    leader = start(lambda said: _reply(said or "status", replies), "s2")  # `status` has no name
    monkeypatch.setattr(status, "CHECK_S", 3.0)
    code = cli.main(["members", *cluster(tmp_path, still.port, leader.port)])
    over.set()
    assert capsys.readouterr().out.splitlines()[:2] == ["s1  h:1  voter", "s2  h:2  voter"]
    assert code == 0
    assert still.received == ["status"]


def _reply(command: str, replies: dict[str, Any]) -> str:
    return f"{command.upper()} response: {json.dumps(replies[command])}"


def test_nodes_that_have_not_answered_status_are_named(tmp_path: Path, start: Start) -> None:
    over, said = threading.Event(), list[str]()
    still = start(lambda _: str(over.wait(DEADLINE_S)), "s1")
    cluster(tmp_path, still.port, free_port())
    nodes = status.ask_all(config.load(tmp_path).members, ClientAccess(), 3.0, said.append)
    over.set()
    assert [node.problem for node in nodes] == ["no answer within 3 s", "connection refused"]
    assert said == ["No answer yet: s1 may take up to 3 s"]


def test_a_node_with_an_unknown_host_is_unreachable() -> None:
    found = status.ask("s1", Address("a..b", 1), ClientAccess(), 5.0)
    assert found.problem == "no such host: a..b. Check how it is spelled."


def test_a_hanging_name_server_delays_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def look_up(*_: object, **__: object) -> None:
        over.wait(DEADLINE_S)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    cluster(tmp_path, 1, 2)
    nodes = status.ask_all(config.load(tmp_path).members, ClientAccess(), 0.1)
    assert [node.problem for node in nodes] == ["no answer within 0.1 s"] * 2
    over.set()


def test_an_answer_in_time_is_not_called_late(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_connection, "SAID_AFTER_S", DEADLINE_S)
    said: list[str] = []
    with contextlib.closing(Client(port=start(store()).port, on_wait=said.append)) as client:
        client.request("get ana")
    assert said == []


def test_change_seeks_a_leader_for_less_than_its_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change looks for a leader for less time than it may take."""
    monkeypatch.setattr(members, "SEARCH_S", 0.3)
    assert cli.main(["remove", "s2", *cluster(tmp_path, free_port(), free_port())]) == 5
    assert "nobody answers at localhost port " in capsys.readouterr().err


def test_a_backup_that_is_broken_off_leaves_no_file(
    tmp_path: Path, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = "BACKUP response: 1-1 of 10 bytes crc32 00000000"
    node = start(lambda said: begun if said == "backup" else 'BACKUP response: from 0 ""')
    options = cluster(tmp_path, node.port)
    assert cli.main(["backup", str(tmp_path / "new"), *options]) == 5
    assert "the received backup differs from the announced one" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [config.FILE_NAME]
