"""A program that was given the address of one node of three outlives it, whatever it waits for."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import raftline
import raftline.aio
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S, eventually
from tests.processes.typed import at, somebody_waits

SOURCE = Path(__file__).resolve().parents[3] / "src"


def test_watches_and_locks_that_wait_go_on_where_the_one_named_node_has_died(
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
    got: list[raftline.api.Held | None] = []
    with raftline.connect(at(three), timeout=DEADLINE_S) as others:
        holder = others.lock("door").acquire()
        others["n"] = "1"

        def wait() -> None:
            with raftline.connect(where, timeout=DEADLINE_S) as kv:
                got.append(kv.lock("door").acquire(DEADLINE_S))

        waiter = threading.Thread(target=wait)
        waiter.start()
        eventually(lambda: somebody_waits(others, "lock/door/"), "somebody waits for the lock")

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
            holder.release()
            waiter.join(DEADLINE_S)
            assert got[0] is not None
        finally:
            shell.kill()
            shell.wait()
            waiter.join()
