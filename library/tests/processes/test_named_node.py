"""A program that was given the address of one node of three outlives it, whatever it waits for."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import raftline
import raftline.aio
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S
from tests.processes.typed import at

SOURCE = Path(__file__).resolve().parents[3] / "src"


def test_a_watch_outlives_the_one_node_that_was_named(
    three: Cluster,
) -> None:
    named = three.nodes[1]
    where = f"localhost:{named.port}"
    shell = subprocess.Popen(
        [sys.executable, "-m", "raftline", "watch", "n", "--at", where],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with raftline.connect(at(three), timeout=DEADLINE_S) as others:
        others["n"] = "1"

        async def work() -> None:
            async with raftline.aio.connect(where, timeout=DEADLINE_S) as kv:
                watch = kv.watch("n")
                assert (await watch.next_event(DEADLINE_S)).value == "1"  # type: ignore[union-attr]
                await asyncio.to_thread(named.kill)
                await asyncio.to_thread(others.set, "n", "2")
                assert (await watch.next_event(DEADLINE_S)).value == "2"  # type: ignore[union-attr]
                assert await kv.get("n") == "2"

        try:
            with raftline.connect(where, timeout=DEADLINE_S) as kv:
                watch = kv.watch("n")
                assert watch.next_event(DEADLINE_S).value == "1"  # type: ignore[union-attr]
                assert shell.stdout is not None
                assert "has n 1" in shell.stdout.readline()
                asyncio.run(work())
                assert watch.next_event(DEADLINE_S).value == "2"  # type: ignore[union-attr]
                assert kv["n"] == "2"
            assert "set n 2" in shell.stdout.readline()
        finally:
            shell.kill()
            shell.wait()
