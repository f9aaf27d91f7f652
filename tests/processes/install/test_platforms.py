"""A cluster without what only Linux has. It stands in for macOS, on which no test is run."""

from __future__ import annotations

from pathlib import Path

from raftline_testing.nodes.altered import live_on_macos
from raftline_testing.nodes.cluster import STEADY, Cluster


def test_nodes_without_linux_features_write_elect_and_recover(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        for node in cluster.nodes:
            live_on_macos(node, tmp_path / f"{node.name}.synced")
        cluster.start().led_by("s1")
        assert cluster.ask("client4@set b 5") == "SET response: b set to 5"
        cluster["s1"].kill()
        assert cluster.ask("client4@get b") == "GET response: 5"
        cluster["s1"].start()
        cluster.wait_until_whole()
        cluster.wait_until_on_all_disks()
        assert all("set b 5" in node.log.read_text(encoding="utf-8") for node in cluster.nodes)
        assert [node.terminate() for node in cluster.nodes] == [0, 0, 0]


def test_macos_sync_reaches_the_disk_not_only_its_cache(tmp_path: Path) -> None:
    """On macOS, `fsync` reaches only the drive's cache, unlike F_FULLFSYNC."""
    with Cluster(tmp_path, 1, *STEADY) as cluster:
        (node,) = cluster.nodes
        synced = tmp_path / "s1.synced"
        live_on_macos(node, synced)
        cluster.start().leader()
        before = len(synced.read_text().splitlines())
        assert cluster.ask("client4@set b 5") == "SET response: b set to 5"
        assert len(synced.read_text().splitlines()) > before > 0
