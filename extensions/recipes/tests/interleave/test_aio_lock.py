"""`kv.lock` of asyncio: tasks that share an object, come, go and are cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

from raftline.clients.leases.gates import Gates
from raftline.recipes.locks.aio_lock import AioLock
from raftline.recipes.tests.rim.lock_cluster import AioCluster
from raftline_testing.interleave.scenarios import check_interleavings, seeds
from raftline_testing.interleave.tasks import end_of

WAITS_S = (-1, 0, -1, 0.5, -1)  # of the tasks in turn; -1: for ever


class LongLeases(AioCluster):
    """A cluster whose leases outlast every wait: nobody renews them."""

    ttl = 10.0**6


class OneClient(LongLeases):
    """A cluster whose claims are those of one client."""

    gates = Gates()


async def tasks_share_locks(cancelled: int = -1, *, is_one_client: bool = False) -> None:
    """Four tasks share one object, and one has another; one of them may be cancelled."""
    cluster = OneClient() if is_one_client else LongLeases()
    if is_one_client:
        OneClient.gates = Gates()
    cluster.ways = 1
    shared, other = cluster.lock(), cluster.lock()
    holders: list[int] = []
    tokens: list[int] = []

    async def work(one: AioLock, wait_s: float) -> None:
        held = await one.acquire(timeout=wait_s)
        assert held is not None or wait_s >= 0
        if held is None:
            return
        holders.append(held.token)
        assert len(holders) == 1, "two hold it"
        tokens.append(held.token)
        try:
            await asyncio.sleep(0)
        finally:
            holders.remove(held.token)
            await asyncio.shield(held.release())

    tasks = [
        asyncio.ensure_future(work(other if number == 2 else shared, wait_s))
        for number, wait_s in enumerate(WAITS_S)
    ]
    await end_of(tasks, cancelled)
    for _ in range(20):  # what a cancelled task has begun to give back
        await asyncio.sleep(0)
    assert tokens == sorted(set(tokens)), "a token came twice"
    assert len(tokens) >= WAITS_S.count(-1) - (cancelled >= 0)
    assert cluster.keys() == {}, "the lock is held for ever"

    assert not cluster.gates._turns, "a task stays at the gate"


async def one_is_cancelled() -> None:
    await tasks_share_locks(cancelled=0)


async def one_of_one_client_is_cancelled() -> None:
    loop: Any = asyncio.get_running_loop()
    await tasks_share_locks(cancelled=loop.chance.choice((-1, 0, 3)), is_one_client=True)


@seeds(70, 30_000)
def test_one_holds_it_at_a_time_and_everybody_gets_it(seeds: range) -> None:
    check_interleavings(tasks_share_locks, seeds)


@seeds(70, 30_000)
def test_a_cancelled_task_takes_nothing_along(seeds: range) -> None:
    check_interleavings(one_is_cancelled, seeds)


@seeds(70, 30_000)
def test_tasks_of_one_client_take_it_one_after_the_other(seeds: range) -> None:
    check_interleavings(one_of_one_client_is_cancelled, seeds)
