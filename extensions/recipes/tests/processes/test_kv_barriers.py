"""Barriers at real nodes: programs wait for each other, also while some of them are killed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from functools import partial

import pytest

import raftline
import raftline.aio
from raftline_testing.doubles.scripted_node import SOURCE
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S
from tests.processes.typed import at

ENTERS = """
import raftline, sys, threading
held = raftline.connect(sys.argv[1]).double_barrier("step", 2, ttl=3).enter()
print(held.is_held, flush=True)
threading.Event().wait()
"""


def test_programs_wait_while_a_barrier_is_closed(kv: raftline.KV[str]) -> None:
    gate = kv.barrier("gate")
    assert gate.wait(timeout=0)
    gate.close()
    assert not gate.wait(timeout=0)
    assert not gate.wait(timeout=0.3)
    passed: list[bool] = []
    waiter = threading.Thread(target=lambda: passed.append(kv.barrier("gate").wait()))
    waiter.start()
    assert (gate.open(), gate.open()) == (True, False)
    waiter.join(DEADLINE_S)
    assert passed == [True]
    with pytest.raises(ValueError, match="1 to 1000 programs pass a barrier together, not 0"):
        kv.double_barrier("step", 0)


def test_no_program_of_a_round_begins_or_ends_alone(kv: raftline.KV[str]) -> None:
    inside: list[int] = []

    def work() -> None:
        step = kv.double_barrier("rounds", 3)
        with pytest.raises(RuntimeError, match="this object has not entered"):
            step.leave()
        for number in range(3):
            held = step.enter()
            assert held is not None
            inside.append(number)
            assert (step.leave, held.leave, partial(step.leave, held))[number]()
            with pytest.raises(RuntimeError, match="released already"):
                step.leave()
            with pytest.raises(RuntimeError, match="released already"):
                step.leave(held)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(3 * DEADLINE_S)
    assert inside == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert kv.double_barrier("rounds", 2).enter(timeout=0.3) is None
    assert list(kv.keys("barrier/rounds/")) == []


def test_a_program_that_is_killed_inside_has_left(three: Cluster) -> None:
    with (
        raftline.connect(at(three), timeout=DEADLINE_S) as kv,
        subprocess.Popen(
            [sys.executable, "-c", ENTERS, at(three)],
            text=True,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        ) as other,
    ):
        step = kv.double_barrier("step", 2, ttl=30)
        held = step.enter()
        assert held is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        other.kill()
        three.leader().kill()
        assert step.leave(held, timeout=DEADLINE_S)
        assert list(kv.keys("barrier/step/")) == []


def test_asyncio_has_the_same_barriers(nodes: Cluster) -> None:
    async def work() -> None:
        async with raftline.aio.connect(at(nodes)) as kv:
            gate = kv.barrier("tasks")
            await gate.close()
            assert not await gate.wait(timeout=0)
            waiter = asyncio.ensure_future(gate.wait())
            assert await gate.open()
            assert await waiter
            step = kv.double_barrier("tasks", 2)
            assert await step.enter(timeout=0.3) is None
            both = await asyncio.gather(step.enter(), step.enter())
            with pytest.raises(RuntimeError, match="inside 2 times; leave with what `enter`"):
                await step.leave()
            assert all(await asyncio.gather(*(held.leave() for held in both if held)))
            second = kv.double_barrier("tasks", 2)
            await asyncio.gather(step.enter(), second.enter())
            assert all(await asyncio.gather(step.leave(), second.leave()))

    asyncio.run(work())
