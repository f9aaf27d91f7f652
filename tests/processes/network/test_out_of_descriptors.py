"""A node that may open no more files: those that are connected are served, and it says why. Clients
alone don't bring it there: it keeps the files that it needs itself."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

import pytest

from raftline.net.connections.file_limit import RESERVED_FILES
from raftline.wire.limits import PLACES_FOR_PEERS
from raftline_testing.nodes.altered import alter
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import eventually

FEW_DESCRIPTORS = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))
"""
PLACES = 20


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="Linux alone sets another's limit")
def test_a_node_out_of_descriptors_serves_its_open_connections(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1) as cluster:
        node = cluster["s1"]
        node.start()
        cluster.leader()
        with node.connect() as early, contextlib.ExitStack() as stack:
            assert early.ask("client4@set b 5") == "s1@SET response: b set to 5"
            few = len(os.listdir(f"/proc/{node.pid}/fd")) + 10
            before = resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (few, few))
            for _ in range(60):
                stack.enter_context(node.connect())
            said = node.wait_for_line("can't take a connection: ")
            assert said.endswith("Too many open files; the open ones continue")
            for number in range(20):
                assert early.ask(f"client4@set b {number}") == f"s1@SET response: b set to {number}"
        assert eventually(lambda: cluster.ask("client4@get b")) == "GET response: 19"
        assert before > (few, few)
        assert len([line for line in node.said if "can't take a connection" in line]) == 1


def test_idle_clients_leave_files_for_elections(tmp_path: Path) -> None:
    """Idle clients leave a node enough descriptors for its elections."""
    with Cluster(tmp_path, 3) as cluster, contextlib.ExitStack() as stack:
        for node in cluster.nodes:
            alter(node, FEW_DESCRIPTORS, limit=RESERVED_FILES + PLACES)
        leader = cluster.start().wait_until_whole().leader()
        leader.wait_for_line(f"[!] {leader.name} takes {PLACES} connections, not 1,146: ")
        for node in cluster.followers():
            for _ in range(PLACES + PLACES_FOR_PEERS + 200):
                client = stack.enter_context(node.connect())
                with contextlib.suppress(OSError):  # no place was left
                    client.send("client4@get a read local")
        leader.kill()
        assert cluster.leader() is not leader
