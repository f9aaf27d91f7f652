"""A node as systemd has it: ready, reading again, stopping, and well."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline_testing.nodes.cluster import Cluster, NodeProcess


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


class Listening:
    """A socket as systemd has it for a service."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(60)

    def heard(self, but: str = "") -> str:
        """Return the next message that is not `but`."""
        while True:
            text = self.socket.recv(4096).decode()
            if text != but:
                return text


def test_sighup_reads_the_log_level_again(cluster: Cluster, tmp_path: Path) -> None:
    """SIGHUP reads the level of the log again while the node serves."""
    node, systemd = cluster["s1"], Listening(tmp_path / "notify")
    node._popen["env"] = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
    with contextlib.closing(systemd.socket):
        cluster.start()
        assert systemd.heard() == "READY=1"
        settings(cluster, 'log-level = "warning"\n')
        node.send_signal(signal.SIGHUP)
        assert systemd.heard().startswith("RELOADING=1")
        assert systemd.heard() == "READY=1"
        assert cluster.ask("client4@set quiet 5") == "SET response: quiet set to 5"
        settings(cluster, "")
        assert read_again(node) == "[*] s1 has reloaded: settings"
    assert cluster.ask("client4@set loud 5") == "SET response: loud set to 5"
    node.wait_for_line("[*] Received from client4 : set loud 5")
    assert not any("quiet" in line for line in node.said)


def test_systemd_hears_of_ready_reload_and_stop(cluster: Cluster, tmp_path: Path) -> None:
    """systemd hears when a node is ready, reads again and stops."""
    systemd = Listening(tmp_path / "notify")
    node = cluster["s1"]
    node._popen["env"] = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
    with contextlib.closing(systemd.socket):
        node.start()
        assert systemd.heard() == "READY=1"
        node.send_signal(signal.SIGHUP)
        begun, since = systemd.heard().split("\n")
        assert begun == "RELOADING=1"
        assert since.startswith("MONOTONIC_USEC=")
        assert systemd.heard() == "READY=1"
        assert node.terminate() == 0
        assert systemd.heard() == "STOPPING=1"


def test_the_watchdog_of_systemd_hears_of_a_node_that_is_well(
    cluster: Cluster, tmp_path: Path
) -> None:
    systemd = Listening(tmp_path / "notify")
    node = cluster["s1"]
    node._popen["env"] = {
        **os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000",
    }  # fmt: skip
    with contextlib.closing(systemd.socket):
        node.start()
        assert systemd.heard() == "READY=1"
        assert [systemd.heard() for _ in range(3)] == ["WATCHDOG=1"] * 3
