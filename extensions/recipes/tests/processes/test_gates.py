"""Threads and tasks of one client that want one lock: one at a time tries in the cluster."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

import raftline
import raftline.aio
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S
from tests.processes.typed import at, holder_key

CALLERS = 20
# What many callers want, and how many of them hold it at a time.
WANTED: dict[str, tuple[int, Callable[[Any], Any]]] = {
    "lock": (1, lambda kv: kv.lock("crowd").acquire()),
    "election": (1, lambda kv: kv.election("crowd").campaign("host1")),
    "semaphore": (3, lambda kv: kv.semaphore("crowd", 3).acquire()),
}
ENTRIES = 2  # of an acquisition: it, and the release; and the lease of the client
OTHERS = 2 * CALLERS  # the sessions of threads, and lines that were sent again


@pytest.mark.parametrize("what", WANTED)
def test_an_acquisition_amid_other_tasks_costs_two_entries(nodes: Cluster, what: str) -> None:
    limit, acquire = WANTED[what]
    inside, tokens, order = 0, [], []

    async def works(kv: raftline.aio.KV[str], number: int) -> None:
        nonlocal inside
        async with await acquire(kv) as held:
            inside += 1
            assert inside <= limit
            tokens.append(held.token)
            order.append(number)
            await asyncio.sleep(0)
            inside -= 1

    async def work() -> None:
        async with raftline.aio.connect(at(nodes)) as kv:
            await asyncio.gather(*(works(kv, number) for number in range(CALLERS)))

    asyncio.run(work())
    assert max(tokens) - min(tokens) <= ENTRIES * (CALLERS + limit) + OTHERS
    if limit == 1:
        assert order == list(range(CALLERS))
        assert tokens == sorted(tokens)


@pytest.mark.parametrize("what", WANTED)
def test_an_acquisition_amid_other_threads_costs_two_entries(
    kv: raftline.KV[str], what: str
) -> None:
    limit, acquire = WANTED[what]
    tokens: list[int] = []

    def works() -> None:
        with acquire(kv) as held:
            tokens.append(held.token)

    threads = [threading.Thread(target=works) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert len(tokens) == CALLERS
    assert max(tokens) - min(tokens) <= ENTRIES * (CALLERS + limit) + OTHERS


def test_a_caller_that_gives_up_leaves_its_turn_to_the_next(nodes: Cluster) -> None:
    async def work() -> None:
        async with raftline.aio.connect(at(nodes)) as kv:
            lock = kv.lock("gives up")
            held = await lock.acquire()
            assert await lock.acquire(timeout=0.5) is None
            assert await lock.acquire(timeout=0) is None
            first, second = (asyncio.ensure_future(lock.acquire()) for _ in range(2))
            await asyncio.sleep(0)
            first.cancel()
            await held.release()
            assert isinstance(await second, raftline.aio.Held)
            assert first.cancelled()
            await second.result().release()

    asyncio.run(work())


def test_thread_out_of_time_gets_none_and_leaves_its_turn(kv: raftline.KV[str]) -> None:
    """A thread whose time is over gets none and leaves its turn."""
    lock = kv.lock("gives up")
    held = lock.acquire()
    assert lock.acquire(timeout=0.5) is None
    assert lock.acquire(blocking=False) is None
    held.release()
    with lock.acquire(timeout=DEADLINE_S) or pytest.fail("nobody holds it"):
        pass


def test_a_lost_lock_lets_the_next_thread_try(kv: raftline.KV[str]) -> None:
    lock = kv.lock("lost", ttl=2)
    held = lock.acquire()
    stat = kv.stat(holder_key(kv, "lock/lost/"))
    assert stat is not None
    kv.request(f"release {stat.lease}")
    with lock.acquire() as following:
        assert following.token > held.token
        assert not held.is_held


def test_a_child_process_has_gates_of_its_own(kv: raftline.KV[str]) -> None:
    lock = kv.lock("fork", ttl=600)
    held = lock.acquire()
    child = os.fork()
    if child == 0:
        try:
            is_held_there = lock.acquire(timeout=0.5) is None
            with kv.lock("fork of the child").acquire(timeout=DEADLINE_S) or pytest.fail("no lock"):
                os._exit(0 if is_held_there else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert held.check() == held.token
    held.release()
    with lock:
        pass
