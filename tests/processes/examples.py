"""The programs of docs/examples."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import Process
from tests.processes.typed import at

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
BOTH = pytest.mark.parametrize("form", ["", "_aio"])  # for threads, and for asyncio


def example(name: str, nodes: Cluster, *arguments: str) -> Process:
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]
    return Process(name, command, env={**os.environ, "RAFTLINE": at(nodes)})
