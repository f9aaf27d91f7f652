"""A disk that is lost before all members of a cluster have run."""

from __future__ import annotations

import shutil
from pathlib import Path

from raftline.common.config import FILE_NAME
from raftline_testing.doubles.in_process import raftline
from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.nodes.processes import eventually


def wipe(node: NodeProcess) -> None:
    """Remove all files of a node, and the trace of its birth."""
    for path in (*node.folder.glob(f"{node.name}.*"), node.folder / f".{node.name}.born"):
        path.unlink()


def ask_leader(cluster: Cluster, line: str) -> str:
    """Return the reply of the leader of the running nodes."""

    def reply() -> str:
        led = [node for node in cluster.running if node.status().get("role") == "leader"]
        return led[-1].ask(line).partition("@")[2] if led else ""

    return eventually(reply, f"an answer to {line}")


def names_the_other(node: NodeProcess, name: str, theirs: str) -> bool:
    return node.status().get("foreign", {}).get(name) == theirs


def apart(cluster: Cluster) -> None:
    """Give each node a folder of its own, so that none sees the files of another."""
    for node in cluster.nodes:
        folder = cluster.folder / f"of {node.name}"
        folder.mkdir()
        shutil.copy(cluster.folder / FILE_NAME, folder)
        node.folder = folder
        node.where = ["--dir", str(folder)]


def test_wiped_node_and_fresh_node_begin_another_cluster(tmp_path: Path) -> None:
    """On one machine, nodes without files begin a second cluster if the others are silent for six
    election timeouts and have their files in another folder."""
    with Cluster(tmp_path, 3) as cluster:
        apart(cluster)
        first, second, third = cluster.nodes
        first.start()
        second.start()
        assert ask_leader(cluster, "set account 100") == "SET response: account set to 100"
        eventually(lambda: first.status().get("last_applied", 0) >= 2, "the write at s1")
        mine = first.status()["cluster"]
        cluster.kill()
        wipe(second)
        second.start()
        third.start()
        assert ask_leader(cluster, "set account 7") == "SET response: account set to 7"
        theirs = second.status()["cluster"]
        assert "" != theirs != mine
        first.start()
        said = first.wait_for_line(f"is of cluster {theirs}, and s1 of cluster {mine}: nothing is")
        assert said.startswith("[!] s")
        second.wait_for_line(f"[!] s1 at localhost:{first.port} is of cluster {mine}, and s2 of ")
        eventually(lambda: names_the_other(first, "s2", theirs), "s2 in the status of s1")
        eventually(lambda: names_the_other(second, "s1", mine), "s1 in the status of s2")
        assert ask_leader(cluster, "get account") == "GET response: 7"
        result = raftline("status", "--dir", tmp_path)
        assert "s1 is of another cluster" in result.stdout
        assert result.returncode != 0
        cluster.kill()
        assert raftline("recover", "s1", "--dir", first.folder, "--yes").returncode == 0
        first.start()
        assert ask_leader(cluster, "get account") == "GET response: 100"


def test_newborn_waits_for_a_node_whose_files_are_beside_its_own(tmp_path: Path) -> None:
    """The files of s1 in the same folder show that a cluster has begun, though s1 does not run."""
    with Cluster(tmp_path, 3) as cluster:
        first, second, third = cluster.nodes
        first.start()
        second.start()
        assert ask_leader(cluster, "set account 100") == "SET response: account set to 100"
        eventually(lambda: first.status().get("last_applied", 0) >= 2, "the write at s1")
        cluster.kill()
        wipe(second)
        for node in (second, third):
            node.start().wait_for_line(f"[*] {node.name} has no files, and s1 has files in ")
        second.wait_for_line("waits until it hears that s1 has none either")
        first.start()
        third.wait_for_line("[*] s3 has no files and s1 has entries")
        second.kill()
        second.start("--new")
        assert ask_leader(cluster, "get account") == "GET response: 100"
