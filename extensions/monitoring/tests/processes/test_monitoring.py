"""The HTTP door of real nodes: /health, /ready, /metrics, /status."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from raftline_testing.doubles.in_process import raftline
from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.nodes.processes import eventually, free_ports

MOVED = ("sent", "received")


class Monitored(Cluster):
    """A cluster whose nodes have a door each."""

    def __init__(self, folder: Path, count: int) -> None:
        super().__init__(folder, count, "--pace", "class")
        self.doors = {node.name: next(free_ports) for node in self.nodes}
        for node in self.nodes:
            node.options += ["--http", str(self.doors[node.name])]

    def page(self, node: NodeProcess, path: str) -> tuple[int, str]:
        address = f"http://127.0.0.1:{self.doors[node.name]}{path}"
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def figures(self, node: NodeProcess) -> dict[str, float]:
        """Return each sample by its name and labels: `name{label}`."""
        status, text = self.page(node, "/metrics")
        assert status == 200, text
        return {
            sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    with Monitored(tmp_path_factory.mktemp("cluster"), 3) as cluster:
        cluster.start().leader()
        yield cluster


def test_every_serving_node_is_healthy_and_ready(cluster: Monitored) -> None:
    """Every node of a cluster that serves is healthy and ready."""
    for node in cluster.nodes:
        assert cluster.page(node, "/health") == (200, "ok\n")
        eventually(lambda node=node: cluster.page(node, "/ready")[0] == 200, "it is ready")


def test_the_leader_alone_answers_200_at_leader(cluster: Monitored) -> None:
    leader = cluster.leader()
    for node in cluster.nodes:
        status, text = cluster.page(node, "/leader")
        assert status == (200 if node is leader else 503)
        assert f"{leader.name} leads term " in text
    for node in cluster.followers():
        assert f", at localhost:{leader.port}" in cluster.page(node, "/leader")[1]


def test_the_status_is_the_one_of_the_request(cluster: Monitored) -> None:
    node = cluster.nodes[0]
    code, text = cluster.page(node, "/status")
    assert code == 200
    assert json.loads(text).keys() == json.loads(node.ask("status").partition(": ")[2]).keys()


def test_the_figures_tell_what_was_done(cluster: Monitored) -> None:
    leader = cluster.leader()
    before = cluster.figures(leader)
    for number in range(20):
        assert "SET response" in cluster.ask(f"client4@set figure{number} 1")
        assert "GET response" in cluster.ask(f"client4@get figure{number}")
    cluster.wait_until_equal()
    after = cluster.figures(leader)
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert after["raftline_role{leader}"] == 1
    assert after["raftline_role{follower}"] == 0
    assert after["raftline_keys"] >= 20
    assert grown["raftline_request_seconds_count{write}"] == 20
    assert grown["raftline_request_seconds_count{read}"] == 20
    assert grown["raftline_commit_index"] >= 20
    assert grown["raftline_fsync_seconds_count"] >= 1
    assert grown["raftline_syncs_total"] >= 1
    assert grown["raftline_received_bytes_total"] >= 20 * len("client4@set figure0 1\n")
    assert grown["raftline_sent_bytes_total"] >= 20 * len("s1@SET response: figure0 set to 1\n")
    assert grown["raftline_connections_taken_total"] >= 1
    assert after["raftline_last_applied"] == after["raftline_commit_index"]
    assert after["raftline_leaderships_total"] >= 1
    followers = {node.name for node in cluster.followers()}
    for name in followers:
        sent, received = (f"raftline_peer_{what}_bytes_total{{{name}}}" for what in MOVED)
        assert grown[sent] >= 20 * len("s1@set figure0 1\n")
        assert grown[received] >= 20 * len("s2@1\n")
    assert {f"raftline_follower_lag_entries{{{name}}}" for name in followers} <= after.keys()
    for node in cluster.followers():
        figures = cluster.figures(node)
        assert figures["raftline_role{follower}"] == 1
        assert figures["raftline_keys"] == after["raftline_keys"]
        assert not any("follower_lag" in name for name in figures)


def test_watches_and_leases_are_counted(cluster: Monitored) -> None:
    leader = cluster.leader()
    with leader.connect() as client:
        assert "LEASE response" in client.ask("client4@lease 1000")
        client.send("client4@watch figure")
        eventually(lambda: cluster.figures(leader)["raftline_watches"] == 1, "a watch")
        figures = cluster.figures(leader)
        assert figures["raftline_leases"] >= 1
        assert figures["raftline_connections"] >= 1
    eventually(lambda: cluster.figures(leader)["raftline_watches"] == 0, "no watch")


def test_promtool_finds_nothing_wrong_with_the_figures(cluster: Monitored) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here; Debian's package prometheus has it")
    for node in cluster.nodes:
        text = cluster.page(node, "/metrics")[1]
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, "")


def test_a_node_without_a_quorum_is_healthy_and_not_ready(tmp_path: Path) -> None:
    with Monitored(tmp_path, 3).start() as cluster:
        cluster.leader()
        left, *others = cluster.nodes
        for node in others:
            node.kill()
        eventually(lambda: left.status()["role"] != "leader", "it leads no longer")
        status, text = cluster.page(left, "/ready")
        assert (status, text.startswith("not ready: ")) == (503, True)
        assert cluster.page(left, "/health") == (200, "ok\n")
        others[0].start()
        eventually(lambda: cluster.page(left, "/ready")[0] == 200, "it is ready again")


def test_node_without_room_for_keys_is_not_ready(tmp_path: Path) -> None:
    """A node without room for keys is not ready, and `status` says why."""
    with Monitored(tmp_path, 1) as cluster:
        (node,) = cluster.nodes
        node.options += ["--max-bytes", "1000"]
        cluster.start()
        eventually(lambda: cluster.page(node, "/ready")[0] == 200, "it is ready")
        assert raftline("status", "--dir", cluster.folder).returncode == 0
        assert cluster.ask(f"client4@set a {'x' * 1000}").startswith("SET response: ")
        assert "no room: keys and leases take 1000 bytes" in cluster.ask("client4@set b 2")
        why = "keys and leases take all of --max-bytes"
        assert cluster.page(node, "/ready") == (503, f"not ready: {why}\n")
        assert cluster.figures(node)["raftline_lacks_room{bytes}"] == 1
        seen = raftline("status", "--dir", cluster.folder)
        assert seen.returncode == 3
        assert f"; {node.name} refuses writes, since {why}. Delete or" in seen.stdout
        assert cluster.ask("client4@delete a").startswith("DELETE response")
        assert cluster.page(node, "/ready")[0] == 200
        assert raftline("status", "--dir", cluster.folder).returncode == 0


def test_reachable_http_port_is_reported_and_a_used_one_refused(tmp_path: Path) -> None:
    """An HTTP port that others reach is reported and one in use is refused."""
    with Cluster(tmp_path, 1) as cluster:
        node, port = cluster["s1"], next(free_ports)
        node.start("--http", f"0.0.0.0:{port}")
        warning = f"[!] --http 0.0.0.0:{port}: anyone on the network can read this node's fig"
        assert any(line.startswith(warning) for line in node.said)
        node.terminate()
        assert node.launch("--http", str(node.port)).ended() == 2
        assert node.said[-1].startswith(f"[!] --http localhost:{node.port}: can't listen there: ")


def test_a_node_answers_at_a_socket_of_the_file_system_alone(tmp_path: Path) -> None:
    place = tmp_path / "http"
    with Cluster(tmp_path, 1) as cluster:
        cluster["s1"].start("--http", f"unix:{place}")
        eventually(lambda: "raftline_role" in asked(place), "the node has figures")
        cluster["s1"].terminate()
        assert not place.exists()


def asked(place: Path) -> str:
    with socket.socket(socket.AF_UNIX) as asker:
        asker.connect(str(place))
        asker.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        return asker.makefile().read()
