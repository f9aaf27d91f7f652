"""A node that may open no more files: those that are connected are served, and it says why."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from raftline_course.harness.cluster import SERVER, Cluster
from raftline_course.harness.processes import eventually

FEW_DESCRIPTORS = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
sys.path.insert(0, {source!r})
from raftline.server import main
sys.exit(main())
"""


def test_a_node_out_of_descriptors_serves_its_open_connections(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1) as cluster:
        node = cluster["s1"]
        code = FEW_DESCRIPTORS.format(source=str(SERVER.parent))
        node.program = [sys.executable, "-c", code]
        node.start()
        cluster.leader()
        with node.connect() as early, contextlib.ExitStack() as stack:
            assert early.ask("client4@set b 5") == "s1@SET response: b set to 5"
            for _ in range(60):
                stack.enter_context(node.connect())
            said = node.wait_for_line("can't take a connection: ")
            assert said.endswith("Too many open files; those that are open go on")
            for number in range(20):
                assert early.ask(f"client4@set b {number}") == f"s1@SET response: b set to {number}"
        assert eventually(lambda: cluster.ask("client4@get b")) == "GET response: 19"
        assert len([line for line in node.said if "can't take a connection" in line]) == 1
