"""Real nodes whose files are taken away while they run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from raftline.storage.disk import EXIT_DISK
from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.runner.at_night import at_night


def _rotate(node: NodeProcess) -> None:
    node.log.rename(node.folder / f"{node.name}.log.1")


def _copy_and_truncate(node: NodeProcess) -> None:
    shutil.copy(node.log, node.folder / f"{node.name}.log.1")
    node.log.write_bytes(b"")


def _extend(node: NodeProcess) -> None:
    """As `echo rotated >> NAME.log` does."""
    with node.log.open("a") as file:
        file.write("rotated\n")


def _remove_all(node: NodeProcess) -> None:
    for each in (*node.folder.glob(f"{node.name}.*"), node.folder / f".{node.name}.born"):
        each.unlink()


def _is_whole(node: NodeProcess) -> None:
    node.wait_for_line(f"[!] {node.name}: ")
    node.wait_for_line(f"[*] {node.name}: its files in ")


@pytest.mark.parametrize("lose", [_remove_all, _extend, *at_night(_rotate, _copy_and_truncate)])
def test_nodes_that_lose_files_at_once_lose_no_write(
    tmp_path: Path, lose: Callable[[NodeProcess], None]
) -> None:
    with Cluster(tmp_path, 3) as cluster:
        cluster.start().wait_until_whole()
        done = [f"set k{number} {number}" for number in range(5)]
        for command in done[:3]:
            assert cluster.ask(command).startswith("SET response: ")
        for node in cluster.nodes:
            lose(node)
        for command in done[3:]:
            assert cluster.ask(command).startswith("SET response: ")
        for node in cluster.nodes:
            _is_whole(node)
        assert all(node.status()["lost_files"] == [] for node in cluster.nodes)
        cluster.kill()
        for node in cluster.nodes:
            node.start()
        for number in range(5):
            assert cluster.ask(f"get k{number}") == f"GET response: {number}"
        assert not any(node.status()["recovering"] for node in cluster.nodes)


def test_a_node_stops_before_it_overwrites_another_file(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3) as cluster:
        cluster.start().wait_until_whole()
        cluster.ask("set k 1")
        cluster.wait_until_equal()
        node = cluster.followers()[0]
        other = tmp_path / "other"
        other.write_text("somebody's\n")
        other.replace(node.log)
        assert node.ended() == EXIT_DISK
        node.wait_for_line(f"[!] {node.name} stops: {node.name}.log: another program put a file")
        assert node.log.read_text() == "somebody's\n"
        node.log.unlink()
        node.start().wait_for_line("this node rejoins without a vote until it has caught up")
        assert cluster.ask("set k 2") == "SET response: k set to 2"
