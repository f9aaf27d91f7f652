"""Waits without a time limit go through outages, at real nodes that are down for a while."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import raftline
import raftline.aio
from raftline_testing.nodes.cluster import STEADY, Cluster
from raftline_testing.nodes.processes import DEADLINE_S, eventually
from tests.processes.typed import at

LIMIT_S = 0.2  # of a request, so that several fail in each outage
FAILURES = 5
KV = raftline.KV[str]

# What waits, and the request after the outage that ends its wait.
WAITS: dict[str, tuple[Callable[[Any], Any], Callable[[KV], object]]] = {
    "take": (lambda kv: kv.queue("jobs").take(), lambda kv: kv.queue("jobs").put("a")),
    "lock": (
        lambda kv: kv.lock("door").acquire(),
        lambda kv: kv.request("unhold lock/door/ lease-9"),
    ),
    "campaign": (
        lambda kv: kv.election("chief").campaign("me"),
        lambda kv: kv.request("unhold election/chief/ lease-9"),
    ),
    "barrier": (lambda kv: kv.barrier("gate").wait(), lambda kv: kv.barrier("gate").open()),
    "enter": (
        lambda kv: kv.double_barrier("step", 2).enter(),
        lambda kv: kv.double_barrier("step", 2).enter(),
    ),
}


def occupied(kv: KV) -> None:
    """Hold everything by a program that has died, under no lease."""
    for key in ("lock/door/held/alone/lease-9", "election/chief/held/alone/lease-9"):
        kv[key] = "somebody"
    kv.barrier("gate").close()


def outage(cluster: Cluster, kv: KV) -> None:
    """Kill the only node, and start it again when several requests have failed."""
    node = cluster["s1"]
    node.kill()
    for _ in range(FAILURES):
        with pytest.raises((raftline.Unreachable, raftline.NoLeader)):
            kv.get("a")
    node.start()


@pytest.fixture
def single(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, 1, *STEADY) as cluster:
        cluster.start().leader()
        yield cluster


@pytest.mark.parametrize("what", WAITS)
def test_a_wait_without_a_limit_outlasts_an_outage(single: Cluster, what: str) -> None:
    """The wait begins in the midst of the outage."""
    wait, end = WAITS[what]
    results: list[object] = []
    with raftline.connect(at(single)) as other:
        occupied(other)
        with raftline.connect(at(single), timeout=LIMIT_S) as kv:
            kv.within(DEADLINE_S).ping()
            waiter = threading.Thread(target=lambda: results.append(wait(kv)), daemon=True)
            single["s1"].kill()
            waiter.start()
            outage(single, kv)
            end(other)
            waiter.join(DEADLINE_S)
            assert results
            assert results[0]


def test_a_task_s_wait_without_a_limit_outlasts_an_outage(single: Cluster) -> None:
    async def work(other: KV) -> None:
        async with raftline.aio.connect(at(single), timeout=LIMIT_S) as kv:
            await kv.within(DEADLINE_S).ping()
            waits: list[Awaitable[object]] = [
                asyncio.ensure_future(wait(kv)) for wait, _ in WAITS.values()
            ]
            await asyncio.sleep(0)
            with raftline.connect(at(single), timeout=LIMIT_S) as failing:
                await asyncio.to_thread(outage, single, failing)
            for (_, end), waiting in zip(WAITS.values(), waits, strict=True):
                await asyncio.to_thread(end, other)
                assert await asyncio.wait_for(waiting, DEADLINE_S)

    with raftline.connect(at(single)) as other:
        occupied(other)
        asyncio.run(work(other))


def test_a_share_follows_its_shards_through_an_outage(single: Cluster) -> None:
    updates: list[dict[int, int]] = []
    with (
        raftline.connect(at(single)) as other,
        raftline.connect(at(single), timeout=LIMIT_S) as kv,
        kv.within(DEADLINE_S).partitioner("work", shards=2, ttl=60).join("one") as share,
    ):
        assert sorted(share.update()) == [0, 1]
        follower = threading.Thread(target=lambda: updates.append(share.update()), daemon=True)
        follower.start()
        outage(single, kv)
        with other.partitioner("work", shards=2).join("two"):
            follower.join(DEADLINE_S)
    assert [sorted(update) for update in updates] == [[0]]


def test_a_client_that_was_never_served_raises(single: Cluster) -> None:
    """A wrong address shows itself after the time limit, and not never."""
    single["s1"].kill()
    with raftline.connect(at(single), timeout=LIMIT_S) as kv:
        for wait, _ in WAITS.values():
            with pytest.raises(raftline.Unreachable):
                wait(kv)


def test_a_join_in_an_outage_ends_with_the_time_limit(single: Cluster) -> None:
    """It waits for nobody, so it is a call like any other."""
    with raftline.connect(at(single), timeout=LIMIT_S) as kv:
        kv.within(DEADLINE_S).ping()
        single["s1"].kill()
        for joins in (kv.party("web"), kv.partitioner("work", shards=2)):
            with pytest.raises(raftline.Unreachable):
                joins.join("one")


def test_close_ends_a_wait_in_an_outage(single: Cluster) -> None:
    raised: list[BaseException] = []
    with raftline.connect(at(single), timeout=LIMIT_S) as kv:
        kv.within(DEADLINE_S).ping()
        single["s1"].kill()

        def take() -> None:
            try:
                kv.queue("jobs").take()
            except raftline.ClientError as error:
                raised.append(error)

        waiter = threading.Thread(target=take, daemon=True)
        waiter.start()
        eventually(lambda: kv.state == "suspended", "the outage is noticed")
    waiter.join(DEADLINE_S)
    assert [type(error) for error in raised] == [raftline.errors.Closed]
