"""The processes of a trial's servers: who runs, who was failed, who ended by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from raftline.net.connections.listener import Listener
from raftline.tools.local_cluster.local_cluster import how_it_ended
from raftline_course.trial.servers import Health, Servers, ServersNotStarted, free_ports
from raftline_testing.nodes.processes import eventually
from raftline_testing.nodes.proxy import Network

PORTS = {f"{number:04}": 14_000 + number for number in range(4)}
# Prints what its folder tells it to, and stays.
PROGRAM = """
import pathlib, sys, threading
print(pathlib.Path(sys.argv[4], "says").read_text(), end="", flush=True)
threading.Event().wait(60)
"""


class Links:
    """The ports of a network that nobody uses."""

    def port(self, _asking: str, _asked: str) -> int:
        return 1


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    made = Servers(PORTS, cast(Network, Links()), program, tmp_path)
    for server in PORTS:
        said = "" if server == "0000" else "[!] no room\n[*] good bye\n"
        (tmp_path / server / "says").write_text(said)
        made.launch(server)
    yield made
    made.stop()


def test_a_failed_paused_or_ended_server_is_not_active(servers: Servers) -> None:
    servers.fail("0000")
    servers.pause("0001")
    os.kill(servers.process_id("0002"), signal.SIGKILL)
    assert eventually(servers.newly_crashed, "a crash") == [("0002", -signal.SIGKILL)]
    assert servers.newly_crashed() == []
    assert servers.active == ["0003"]
    assert (servers.failed, servers.crashes) == (["0000"], [("0002", -signal.SIGKILL)])
    assert servers.health["0002"] is Health.CRASHED
    assert [servers.resume(server) for server in ("0000", "0001", "0002")] == [False, True, False]
    servers.launch("0000")
    assert (servers.active, servers.failed) == (["0000", "0001", "0003"], [])


def test_the_last_complaint_of_a_server_is_reported(servers: Servers, tmp_path: Path) -> None:
    console = tmp_path / "0001" / "console"
    eventually(lambda: b"good bye" in console.read_bytes(), "its last words")
    assert servers.last_line("0001") == "its last line: [!] no room"
    console.write_text("[*] good bye\u00fc\n", encoding="utf-8")
    assert servers.last_line("0001") == "its last line: [*] good bye\\xc3\\xbc"
    assert servers.last_line("0000") == "it said nothing"


def test_a_program_that_can_not_be_started_is_reported(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers.fail("0000")
    monkeypatch.setattr(servers._nodes["0000"], "program", ["/nowhere/python"])
    with pytest.raises(ServersNotStarted, match="0000 can't be started: No such file or directory"):
        servers.launch("0000")


def test_an_exit_status_is_reported_in_words() -> None:
    assert [how_it_ended(code) for code in (4, -9, -99)] == [
        "exit status 4",
        "killed by SIGKILL",
        "killed by signal 99",
    ]


def test_free_ports_are_as_many_different_ones_as_requested() -> None:
    found = free_ports(list(PORTS), None)
    assert list(found) == list(PORTS)
    assert len(set(found.values())) == len(PORTS)


def test_free_ports_are_given_once_and_a_server_gets_them() -> None:
    chosen = free_ports(list(PORTS), None)
    assert not {*chosen.values()} & {*free_ports(list(PORTS), None).values()}
    for port in chosen.values():
        Listener("127.0.0.1", port, 10).close()


def test_servers_answering_in_the_last_moment_count_as_started(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers that answer in the last moment have been started."""
    monkeypatch.setattr("raftline_course.trial.servers.UP_SECONDS_MAX", -1.0)
    monkeypatch.setattr(servers, "launch", lambda server: None)  # they run
    monkeypatch.setattr(servers, "_answers", lambda server: True)
    servers.start()
    monkeypatch.setattr(servers, "_answers", lambda server: server != "0000")
    with pytest.raises(ServersNotStarted, match="0000 gave no answer in -1 s; it said nothing"):
        servers.start()
