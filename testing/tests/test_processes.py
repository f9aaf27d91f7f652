"""Processes of the harness: what they print is kept, and none of them is left."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.nodes.processes import (
    NotAsExpected,
    Process,
    end_all,
    eventually,
    free_ports,
    is_free,
)

SAYS = "import sys, threading; print('begun', *sys.argv[1:], flush=True); threading.Event().wait()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SAYS
CHILD = """
import os, socket, sys, threading
sys.path.insert(0, sys.argv[1])
from raftline.common.process import signals
signals.end_with_starter(lambda: os._exit(0))
listener = socket.create_server(("127.0.0.1", int(sys.argv[2])))
print("begun", flush=True)
threading.Event().wait()
"""
STARTER = """
import sys
sys.path.insert(0, sys.argv[1])
sys.path.append(sys.argv[1] + "/../testing")
from raftline_testing.nodes.processes import Process
child = Process("child", [sys.executable, "-c", sys.argv[3], *sys.argv[1:3]])
child.launch().wait_for_line("begun")
print("started", flush=True)
sys.stdin.read()
"""
Start = Callable[..., Process]


@pytest.fixture
def start() -> Iterator[Start]:
    begun: list[Process] = []

    def launch(code: str, *options: str, console: Path | None = None) -> Process:
        begun.append(Process("program", [sys.executable, "-c", code], console))
        return begun[-1].launch(*options)

    yield launch
    end_all(begun)


def test_lines_of_all_starts_are_kept_and_the_last_awaited(start: Start) -> None:
    """Lines are kept over all starts and waited for in the last."""
    process = start(SAYS, "1")
    process.wait_for_line("begun 1")
    process.kill()
    process.launch("2").wait_for_line("begun 2")
    assert (process.lines, process.said) == (["begun 1", "begun 2"], ["begun 2"])
    with pytest.raises(NotAsExpected, match="program never printed 'begun 1', but:\nbegun 2"):
        process.wait_for_line("begun 1", timeout_s=0.0)


def test_endless_output_keeps_its_last_lines() -> None:
    """The last lines of a program that prints without end are kept."""
    code = "print('x' * 100_000); print(*range(100_000), sep='\\n')"
    process = Process("program", [sys.executable, "-c", code], kept=20).launch()
    process.wait_for_line("99999")
    assert len(process.lines) <= 40
    assert process.said[-20:] == [str(number) for number in range(99_980, 100_000)]
    process.launch()
    process.ended()
    eventually(lambda: process.said[-1:] == ["99999"], "its last line")
    assert len(process.lines) <= 40


def test_traceback_of_a_node_is_reported_with_its_cluster(tmp_path: Path) -> None:
    """A cluster whose node printed a traceback is not left in silence."""
    with pytest.raises(NotAsExpected, match="s1 printed:\nTraceback"), Cluster(tmp_path, 1) as one:
        one["s1"].lines.append("Traceback (most recent call last):")


def test_value_like_a_traceback_is_not_a_failure(tmp_path: Path) -> None:
    """A node that prints a request with such words has not failed."""
    with Cluster(tmp_path, 1) as one:
        one["s1"].lines.append("[*] 127.0.0.1 sent: client@set a Traceback (SafetyError)")


def test_stop_by_a_safety_error_is_reported(tmp_path: Path) -> None:
    with pytest.raises(NotAsExpected, match="s1 printed:"), Cluster(tmp_path, 1) as one:
        one["s1"].lines.append("2026-12-01T12:00:00.000+01:00 [!] s1 stops: SafetyError: a gap")


def test_a_console_gets_the_output_of_each_start(start: Start, tmp_path: Path) -> None:
    process = start(SAYS, "1", console=tmp_path / "console")
    eventually(lambda: "begun 1\n" in (tmp_path / "console").read_text(), "the first")
    process.kill()
    process.launch("2")
    eventually(lambda: "begun 2\n" in (tmp_path / "console").read_text(), "the second")
    assert (tmp_path / "console").read_text() == "begun 1\nbegun 2\n"


def test_a_paused_process_stands_still_and_continues(start: Start) -> None:
    process = start(SAYS)
    process.wait_for_line("begun")
    process.pause()
    assert (process.is_running, process.is_paused) == (True, True)
    process.resume()
    assert process.terminate() == -signal.SIGTERM


def test_an_ended_process_is_not_paused(start: Start) -> None:
    process = start("pass")
    eventually(lambda: not process.is_running, "its end")
    process.pause()
    assert not process.is_running


def test_a_process_that_ignores_its_stop_signal_is_killed(start: Start) -> None:
    deaf, willing, ended = start(DEAF), start(SAYS), start("pass")
    for process in (deaf, willing):
        process.wait_for_line("begun")
    ended.ended()
    assert end_all([deaf, willing, ended], patience_s=4.0) == 2
    codes = [process.running.returncode for process in (deaf, willing, ended)]
    assert codes == [-signal.SIGKILL, -signal.SIGTERM, 0]


def test_started_processes_end_with_their_starter() -> None:
    """Started processes end with their starter, even after `kill -9`."""
    source, port = str(Path(__file__).parents[2] / "src"), next(free_ports)
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, source, str(port), CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"started\n"
        assert not is_free(port)
        starter.kill()
    eventually(lambda: is_free(port), "the end of the child")


def test_free_ports_are_distinct_and_can_be_listened_on() -> None:
    """Free ports are different ones on which a server can listen."""
    found = [next(free_ports) for _ in range(20)]
    assert len(set(found)) == 20
    assert all(map(is_free, found))


def test_node_told_to_lead_is_not_told_again_while_it_may_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that is to lead is not told to stand again while it may win."""
    facts = {"name": "s1", "leader": "s1", "term": 1, "last_index": 1, "last_applied": 1,
             "recovering": False, "cluster": "9f86d081884c7d65"}  # fmt: skip
    roles = iter(["follower", "candidate", "candidate"])
    orders: list[str] = []
    monkeypatch.setattr(NodeProcess, "is_running", True)
    monkeypatch.setattr(NodeProcess, "status", lambda _: {**facts, "role": next(roles, "leader")})
    monkeypatch.setattr(NodeProcess, "ask", lambda _, line: orders.append(line))
    Cluster(tmp_path, 1).led_by("s1")
    assert orders == ["Controller@TIMEOUT"]


def test_a_line_is_not_awaited_of_an_ended_process(start: Start) -> None:
    process = start("print('begun', flush=True)")
    with pytest.raises(NotAsExpected, match="but:\nbegun"):
        process.wait_for_line("served", timeout_s=3600)


def test_a_cluster_waits_for_a_port_that_another_program_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def warn(text: str, **_: int) -> None:
        said.append(text)
        other.close()

    monkeypatch.setattr(warnings, "warn", warn)
    with Cluster(tmp_path, 1) as cluster:
        other = socket.create_server(("127.0.0.1", cluster.nodes[0].port))
        cluster.start()
    (text,) = said
    assert "is in use" in text
    assert "LISTEN" in text or "ss is not here" in text


def test_threads_get_ports_at_once() -> None:
    """Each library of `make -C testing redis-day` makes its cluster in a thread of its own."""
    together = threading.Barrier(8)

    def ports(_: int) -> list[int]:
        together.wait()
        return [next(free_ports) for _ in range(12)]

    with ThreadPoolExecutor(together.parties) as threads:
        drawn = [port for each in threads.map(ports, range(together.parties)) for port in each]
    assert len({*drawn}) == len(drawn)
