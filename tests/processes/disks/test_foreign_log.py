"""The log of another cluster in a node's folder."""

from __future__ import annotations

from pathlib import Path

from raftline_testing.nodes.cluster import Cluster


def test_log_of_another_cluster_is_refused_by_its_names(tmp_path: Path) -> None:
    """The names of the members in the log show that it is of another cluster."""
    with Cluster(tmp_path, 1) as cluster:
        node = cluster["s1"]
        foreign = "0 0 base x1=localhost:10000 x2=localhost:10001\n"
        node.log.write_text(foreign)
        assert node.launch().ended() == 3
        assert [line for line in node.said if line.startswith("[!]")] == [
            "[!] s1.log is of a cluster that s1 never was a member of (x1 x2). Is this the log of "
            "another node? Put s1's own back, or start it elsewhere"
        ]
        assert node.log.read_text() == foreign
