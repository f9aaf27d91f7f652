"""Shared locks and semaphores: one alone or many that share, never more than the limit, and nothing
is left in the cluster."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import Any

import pytest

from raftline.clients.leases import base_lease, kept_leases
from raftline.clients.leases.kept_leases import ClaimTimer
from raftline.recipes.locks import claims, held, lock
from raftline.recipes.tests.rim.lock_cluster import AioCluster, Cluster
from raftline_testing.interleave.scenarios import check_interleavings, first_failure, seeds
from raftline_testing.interleave.tasks import end_of

LINES = (lock, claims, held, base_lease, kept_leases)


class LongLeases(Cluster):
    """A cluster whose leases outlast every wait: nobody renews them."""

    ttl = 10.0**6


class AioLongLeases(AioCluster):
    """The same for tasks."""

    ttl = 10.0**6


class Inside:
    """The holders of one lock or semaphore."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._holders: list[bool] = []  # of each whether it shares
        self.count = 0

    def enters(self, shares: bool) -> None:
        self._holders.append(shares)
        alone = self._holders.count(False)
        assert alone <= self._limit, "too many hold it"
        assert not alone or alone == len(self._holders), "one holds alone what others share"
        self.count += 1

    def leaves(self, shares: bool) -> None:
        self._holders.remove(shares)


def threads_hold(is_semaphore: bool = False) -> None:
    """Two threads share one object, one has another; a fourth wants the lock alone."""
    cluster = LongLeases()
    one: Any
    other: Any
    if is_semaphore:
        one, other = cluster.semaphore(2), cluster.semaphore(2)
        all_of_them = [(one, False), (one, False), (other, False)]
    else:
        one, other = cluster.shared_lock(), cluster.shared_lock()
        all_of_them = [(one, True), (one, True), (other, True), (cluster.lock(), False)]
    inside = Inside(2 if is_semaphore else 1)

    def work(each: Any, shares: bool) -> None:
        held = each.acquire()
        inside.enters(shares)
        assert held.is_held  # a line of a module at which threads switch
        inside.leaves(shares)
        held.release()

    threads = [threading.Thread(target=work, args=each) for each in all_of_them]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert inside.count == len(all_of_them)
    assert cluster.keys() == {}, "something is left"


async def tasks_hold(is_semaphore: bool = False, cancelled: int = -1) -> None:
    """As threads do; one of the tasks may be cancelled."""
    cluster = AioLongLeases()
    cluster.ways = 1
    one: Any = cluster.semaphore(2) if is_semaphore else cluster.shared_lock()
    alone = cluster.semaphore(2) if is_semaphore else cluster.lock()
    inside = Inside(2 if is_semaphore else 1)

    async def work(each: Any, shares: bool) -> None:
        held = await each.acquire()
        inside.enters(shares)
        try:
            await asyncio.sleep(0)
        finally:
            inside.leaves(shares)
            await asyncio.shield(held.release())

    shares = not is_semaphore
    order = [(one, shares), (alone, False), (one, shares), (one, shares)]
    tasks = [asyncio.ensure_future(work(*each)) for each in order]
    await end_of(tasks, cancelled)
    for _ in range(40):  # what a cancelled task has begun to give back
        await asyncio.sleep(0)
    assert cluster.keys() == {}, "something is left"


@seeds(60, 15_000)
def test_threads_share_a_lock_or_one_holds_it_alone(seeds: range) -> None:
    check_interleavings(threads_hold, seeds, LINES)


@seeds(40, 15_000)
def test_threads_hold_a_semaphore_up_to_its_limit(seeds: range) -> None:
    check_interleavings(partial(threads_hold, is_semaphore=True), seeds, LINES)


@seeds(60, 15_000)
def test_tasks_share_a_lock_or_one_holds_it_alone(seeds: range) -> None:
    check_interleavings(tasks_hold, seeds)


@seeds(60, 5_000)
def test_a_cancelled_task_leaves_nothing_held(seeds: range) -> None:
    for cancelled in range(3):
        check_interleavings(partial(tasks_hold, cancelled=cancelled), seeds)


@seeds(40, 15_000)
def test_tasks_hold_a_semaphore_up_to_its_limit(seeds: range) -> None:
    check_interleavings(partial(tasks_hold, is_semaphore=True), seeds)


@pytest.mark.slow
def test_a_claim_that_takes_nothing_back_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClaimTimer, "begin_request", lambda self: None)
    assert first_failure(partial(tasks_hold, cancelled=0), range(50)) is not None
