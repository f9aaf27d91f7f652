"""`kv.lock` of asyncio: tasks that share an object, come, go and are cancelled."""

from __future__ import annotations

import asyncio
from functools import partial

from raftline.clients.locks.aio_lock import AioLock
from raftline.clients.locks.contest import LOCKS, LockKeys
from raftline_testing.interleave.scenarios import check_interleavings, first_failure, seeds
from raftline_testing.interleave.tasks import end_of
from tests.interleave.one_attempt import OneAttempt
from tests.rim.lock_cluster import AioCluster

WAITS_S = (-1, 0, -1, 0.5, -1)  # of the tasks in turn; -1: for ever


class AsItWas(OneAttempt, AioLock):
    pass


async def tasks_share_locks(kind: type[AioLock] = AioLock, cancelled: int = -1) -> None:
    """Four tasks share one object, and one has another; one of them may be cancelled."""
    cluster = AioCluster()
    cluster.ways = 1
    shared, other = (
        kind(
            cluster, cluster.keeper, cluster.watch, LockKeys(LOCKS, "nightly"), 10, None, "program"
        )
        for _ in range(2)
    )
    holders: list[int] = []
    tokens: list[int] = []

    async def work(one: AioLock, wait_s: float) -> None:
        token = await one.acquire(timeout=wait_s)
        assert token is not None or wait_s >= 0
        if token is None:
            return
        holders.append(token)
        assert len(holders) == 1, "two hold it"
        tokens.append(one.token)
        try:
            await asyncio.sleep(0)
        finally:
            holders.remove(token)
            await asyncio.shield(one.release())

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


async def one_is_cancelled() -> None:
    await tasks_share_locks(cancelled=0)


@seeds(70, 30_000)
def test_one_holds_it_at_a_time_and_everybody_gets_it(seeds: range) -> None:
    check_interleavings(tasks_share_locks, seeds)


@seeds(70, 30_000)
def test_a_cancelled_task_takes_nothing_along(seeds: range) -> None:
    check_interleavings(one_is_cancelled, seeds)


def test_callers_that_share_one_attempt_are_found() -> None:
    assert first_failure(partial(tasks_share_locks, AsItWas), range(20)) is not None
