"""A node as a service: SIGHUP, and its log for programs."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline_testing.nodes.altered import never_end
from raftline_testing.nodes.cluster import SERVER, Cluster, NodeProcess

TRAFFIC = ("[*] Received", "[*] Connection", "Sending", "Last log")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, 1) as cluster:
        yield cluster


def read_again(node: NodeProcess) -> str:
    """Send SIGHUP, and return the line that says what was read again, or could not be."""
    since = len(node.said)
    node.send_signal(signal.SIGHUP)
    return node.wait_for_line("reload", since=since)


def settings(cluster: Cluster, text: str) -> None:
    (cluster.folder / "raftline.toml").write_text(text, encoding="utf-8")


def test_sighup_tells_which_settings_wait_for_the_next_start(cluster: Cluster) -> None:
    node = cluster.start()["s1"]
    settings(cluster, 'pace = "human"\nmax-connections = 7\n')
    line = "[*] s1 has reloaded: settings (at the next start: pace max-connections)"
    assert [read_again(node), read_again(node)] == [line, line]
    settings(cluster, "")
    assert read_again(node) == "[*] s1 has reloaded: settings"


def test_a_wrong_file_at_sighup_is_reported_and_changes_nothing(cluster: Cluster) -> None:
    node = cluster.start()["s1"]
    settings(cluster, 'log-level = "loud"\n')
    path = cluster.folder / "raftline.toml"
    assert read_again(node) == (
        f"[!] s1 did not reload settings: {path}: log-level: 'loud' is not one of: "
        "debug, info, warning"
    )
    assert cluster.ask("client4@set b 5") == "SET response: b set to 5"


def test_sighup_ends_a_node_whose_input_is_a_terminal(cluster: Cluster) -> None:
    """Otherwise, it would outlive the terminal."""
    ours, theirs = pty.openpty()
    node = cluster["s1"]
    node._popen["stdin"] = theirs
    try:
        cluster.start()
        assert node.terminate(signal.SIGHUP) == 0
    finally:
        os.close(ours)
        os.close(theirs)
    assert node.said[-1] == "[*] s1: has shut down cleanly."


HUNG_UP_AT_ITS_START = f"""
import os, signal, sys
sys.path.insert(0, {str(SERVER.parent)!r})
from raftline.common.process.signals import Interrupts
interrupts = Interrupts()
os.kill(os.getpid(), signal.SIGHUP)
print("goes on", flush=True)
interrupts.read_again_with(lambda: print("reads again"))
"""


@pytest.mark.parametrize("is_at_terminal", [False, True])
def test_sighup_during_start_ends_a_node_only_at_a_terminal(is_at_terminal: bool) -> None:
    """A SIGHUP while a node reads its files ends the node only if its input is a terminal."""
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", HUNG_UP_AT_ITS_START],
            stdin=theirs if is_at_terminal else subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    said = "" if is_at_terminal else "goes on\nreads again\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


def test_a_stopped_node_ends_though_a_thread_waits_for_ever(cluster: Cluster) -> None:
    """SIGTERM ends the process within a stated time, whatever it waits for."""
    node = cluster["s1"]
    never_end(node)
    node.launch().wait_for_line("Server started")
    assert cluster.ask("client4@set b 5") == "SET response: b set to 5"
    assert node.terminate() == 70
    assert node.said[-1].startswith("[!] s1 did not end within 0.5 s, since a thread waits for")


def test_a_failed_node_ends_though_a_thread_waits_for_ever(cluster: Cluster) -> None:
    """So does a node whose invariant broke, and with the status of that."""
    node = cluster["s1"]
    never_end(node, breaks=True)
    node.launch().wait_for_line("Server started")
    cluster.ask("client4@get b")
    with contextlib.suppress(OSError):
        node.ask("client4@set b break the core")
    assert node.ended() == 70
    assert "[!] s1 stops: RuntimeError: a bug that no test has met" in node.said
    assert node.said[-1].startswith("[!] s1 did not end within 0.5 s, since a thread waits for")


def test_json_log_line_has_time_node_and_term(cluster: Cluster) -> None:
    """Each line of a JSON log is an object with the time, the node and the term."""
    node = cluster["s1"]
    node.options += ["--log-format", "json"]
    node.launch().wait_for_line("Server started")
    assert cluster.ask("client4@set b 5") == "SET response: b set to 5"
    assert node.terminate() == 0
    records = [json.loads(line) for line in node.said]
    assert all(list(one) == ["time", "level", "node", "term", "message"] for one in records)
    assert {one["node"] for one in records} == {"s1"}
    assert records[0]["term"] is None
    assert records[-1]["term"] == 1
    messages = [one["message"] for one in records]
    assert messages[-1] == "[*] s1: has shut down cleanly."
    assert "[*] I am Leader" in messages
    assert not any(line.startswith(TRAFFIC) for line in messages)
    assert all("T" in one["time"] for one in records)


def test_a_kept_log_tells_who_led_and_who_the_members_were(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3, "--log-format", "text") as cluster:
        first = cluster.start().leader()
        assert cluster.ask("client4@set a 1") == "SET response: a set to 1"
        first.kill()
        second = cluster.leader()
        assert "removed with entry" in cluster.ask(f"admin@remove {first.name}")
        (third,) = (node for node in cluster.nodes if node not in (first, second))
        cluster.ask(f"admin@transfer {third.name}")
        third.wait_for_line("I am Leader")
        for node in (second, third):
            assert node.terminate() == 0
        for node in (first, second, third):
            assert any(line.endswith("[*] I am Leader") for line in node.said)
            told = [
                line.partition(f" {node.name} term ")[2].partition(": ")[2] for line in node.said
            ]
            assert [line for line in told if line.startswith(TRAFFIC)] == []
        two = " ".join(sorted((second.name, third.name)))
        assert any(line.endswith(f" on: voters {two}") for line in third.said)


@pytest.mark.parametrize("form", ["text", "json"])
def test_why_a_node_does_not_start_is_a_record_as_well(cluster: Cluster, form: str) -> None:
    node = cluster["s1"]
    (cluster.folder / "s1.log").write_text("no log\n")
    assert node.launch("--log-format", form).ended() == 3
    last = node.said[-1]
    if form == "json":
        record = json.loads(last)
        assert (record["level"], record["node"], record["term"]) == ("warning", "s1", None)
        last = record["message"]
    else:
        assert " WARNING s1 term -: [!] " in last
    assert "[!] " in last
    assert "s1.log" in last


def test_the_format_of_the_log_is_read_again_too(cluster: Cluster) -> None:
    node = cluster.start().leader()  # in term 1
    settings(cluster, 'log-format = "text"\n')
    assert read_again(node).endswith("INFO    s1 term 1: [*] s1 has reloaded: settings")
    settings(cluster, "")
    assert read_again(node) == "[*] s1 has reloaded: settings"
