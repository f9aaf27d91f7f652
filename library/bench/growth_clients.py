"""Growth row of typed clients: sets of tasks on one connection, and of threads, compared with the
generator's connections."""

from __future__ import annotations

import asyncio
import random
import resource
import statistics
import threading
import time

import raftline
import raftline.aio
from generator import BenchError, Load
from growth_setup import Setup
from raftline_nodes import Raftline

CALLERS = 64
TOGETHER = 500


class Counted:
    """The waits of sets, without the warm-up."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._begun_s = time.monotonic() + load.warm_up
        self._end_s = self._begun_s + load.seconds
        self._cpu_s = 0.0
        self._waits_ms: list[float] = []
        self.value = "v" * load.value_bytes

    def key(self) -> str:
        return f"key-{random.randrange(self._load.keys):012}"

    def goes_on(self) -> bool:
        return time.monotonic() < self._end_s

    def stop(self) -> None:
        """End the measurement now: nothing is left to do."""
        self._end_s = min(self._end_s, time.monotonic())

    def note(self, asked_s: float) -> None:
        now_s = time.monotonic()
        if now_s >= self._begun_s:
            self._cpu_s = self._cpu_s or _cpu_s()
            self._waits_ms.append((now_s - asked_s) * 1000)

    def figures(self) -> dict[str, float]:
        waits = sorted(self._waits_ms)
        if not waits:
            raise BenchError("all was done within the warm-up: there is nothing to measure")
        seconds = self._end_s - self._begun_s
        return {
            "per_s": len(waits) / seconds,
            "p50_ms": statistics.median(waits),
            "p99_ms": waits[len(waits) * 99 // 100],
            "generator_cpu": (_cpu_s() - self._cpu_s) / seconds,
        }


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _tasks(at: str, load: Load) -> dict[str, float]:
    counted = Counted(load)
    async with raftline.aio.connect(at, timeout=60) as kv:

        async def caller() -> None:
            while counted.goes_on():
                asked_s = time.monotonic()
                await kv.set(counted.key(), counted.value)
                counted.note(asked_s)

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return counted.figures()


def _threads(at: str, load: Load) -> dict[str, float]:
    counted = Counted(load)
    with raftline.connect(at, timeout=60) as kv:

        def caller() -> None:
            while counted.goes_on():
                asked_s = time.monotonic()
                kv.set(counted.key(), counted.value)
                counted.note(asked_s)

        threads = [threading.Thread(target=caller) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return counted.figures()


async def _gathered(at: str, load: Load) -> dict[str, float]:
    """Measure sets of one task that awaits many together. The wait of each is the wait for all."""
    counted = Counted(load)
    async with raftline.aio.connect(at, timeout=60) as kv:
        while counted.goes_on():
            asked_s = time.monotonic()
            keys = [counted.key() for _ in range(TOGETHER)]
            await asyncio.gather(*(kv.set(key, counted.value) for key in keys))
            for _ in keys:
                counted.note(asked_s)
    return counted.figures()


def _pipelined(at: str, load: Load) -> dict[str, float]:
    """Measure the same for one thread with a pipeline."""
    counted = Counted(load)
    with raftline.connect(at, timeout=60) as kv:
        while counted.goes_on():
            asked_s = time.monotonic()
            with kv.pipeline() as batch:
                for _ in range(TOGETHER):
                    batch.set(counted.key(), counted.value)
            for _ in range(TOGETHER):
                counted.note(asked_s)
    return counted.figures()


def clients(setup: Setup) -> None:
    """Sets of 64 callers: the generator's connections, tasks of asyncio on one connection, and
    threads, all at the same nodes in turn. Then sets of one caller, 500 together."""
    with Raftline(setup.folder, setup.port) as nodes:
        port = nodes.port(nodes.wait_for_leader())
        load = Load(connections=CALLERS, seconds=setup.seconds)
        setup.add("generator, 64 connections", nodes, nodes.measure(load))
        at = f"localhost:{port}"
        setup.add("asyncio, 64 tasks, 1 connection", nodes, asyncio.run(_tasks(at, load)))
        setup.add("64 threads", nodes, _threads(at, load))
        setup.add(f"asyncio, {TOGETHER} gathered", nodes, asyncio.run(_gathered(at, load)))
        setup.add(f"1 thread, pipelines of {TOGETHER}", nodes, _pipelined(at, load))


ROWS = {"clients": clients}


def systems() -> list[tuple[object, str]]:
    """Return none: the row measures raftline alone."""
    return []
