"""Libraries that send scripts, at a real node."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

import pytest

from raftline.doors.redis.resp.scripts import SCRIPTS
from raftline_testing.nodes.cluster import Cluster

AT_ONCE = 3


@pytest.fixture
def port(nodes: Cluster) -> int:
    nodes.wait_until_raised()
    return nodes["s1"].port


@pytest.fixture
def client(port: int) -> Any:
    redis = pytest.importorskip("redis", reason="the libraries ask through it")
    client = redis.Redis(port=port)
    client.flushall()
    return client


def library(name: str) -> Any:
    """Return a library, of which its types are not asked."""
    pytest.importorskip(name, reason="it is what the test is about")
    return import_module(name)


@pytest.mark.parametrize("strategy", ["FixedWindow", "SlidingWindowCounter"])
@pytest.mark.parametrize("version", [2, 3])
def test_limits_counts_in_a_window(client: Any, port: int, version: int, strategy: str) -> None:
    limits = library("limits")
    store = limits.storage.storage_from_string(f"redis://localhost:{port}?protocol={version}")
    window = getattr(limits.strategies, f"{strategy}RateLimiter")(store)
    rate = limits.parse("3/minute")
    assert [window.hit(rate, "u") for _ in range(4)] == [True, True, True, False]
    assert window.get_window_stats(rate, "u").remaining == 0
    (key,) = client.keys("*")
    assert 0 < client.ttl(key) <= (60 if strategy == "FixedWindow" else 120)


def test_redis_py_registers_a_script(client: Any) -> None:
    """It sends the text again to a node that has forgotten it, also before a transaction."""
    count = client.register_script(SCRIPTS["incr-expire"].texts[0])
    assert count(keys=["n"], args=[60]) == 1
    client.script_flush()
    assert count(keys=["n"], args=[60]) == 2
    client.script_flush()
    with client.pipeline() as pipe:
        pipe.set("other", 1)
        count(keys=["n"], args=[60], client=pipe)
        assert pipe.execute() == [True, 3]
    changed = client.register_script(SCRIPTS["incr-expire"].texts[0].replace("== 1", "== 2"))
    with pytest.raises(import_module("redis").ResponseError, match="this script is not known here"):
        changed(keys=["n"], args=[60])
    assert client.get("n") == b"3"


def test_redlock_py_is_held_by_one(client: Any, port: int) -> None:
    redlock = library("redlock")
    servers = [{"host": "localhost", "port": port}]
    one, other = redlock.Redlock(servers), redlock.Redlock(servers, retry_count=1)
    lock = one.lock("job", 60_000)
    assert lock
    assert not other.lock("job", 60_000)
    one.unlock(lock)
    assert other.lock("job", 60_000)


def test_the_lock_of_pottery_is_extended_and_released(client: Any) -> None:
    pottery = library("pottery")
    lock = pottery.Redlock(key="job", masters={client}, auto_release_time=60)
    assert lock.acquire()
    assert lock.locked() > 50
    lock.extend()
    lock.release()
    assert lock.locked() == 0
    assert client.keys("*") == []


def test_pottery_gives_each_number_once(client: Any) -> None:
    pottery = library("pottery")
    ids = [pottery.NextID(key="ids", masters={client}) for _ in range(2)]
    assert [next(each) for each in (*ids, *ids)] == [1, 2, 3, 4]


def test_aiocache_locks_and_compares(client: Any, port: int) -> None:
    aiocache = library("aiocache")
    lock = import_module("aiocache.lock")

    async def main() -> None:
        cache = aiocache.Cache(aiocache.Cache.REDIS, endpoint="localhost", port=port)
        try:
            async with lock.RedLock(cache, "k", lease=60):
                await cache.set("k", "1")
            async with lock.OptimisticLock(cache, "k") as held:
                assert await held.cas("2", ttl=60)
            async with lock.OptimisticLock(cache, "k") as held:
                await cache.set("k", "3")
                with pytest.raises(lock.OptimisticLockError):
                    await held.cas("4")
        finally:
            await cache.close()

    asyncio.run(main())
    assert client.keys("*") == [b"k"]


def test_cashews_counts_and_locks(client: Any, port: int) -> None:
    cashews = library("cashews")

    async def main() -> None:
        cache = cashews.Cache()
        cache.setup(f"redis://localhost:{port}", client_side=False, suppress=False)
        assert [await cache.incr("n", expire=60) for _ in range(AT_ONCE)] == [1, 2, 3]
        async with cache.lock("job", expire=60):
            assert await cache.is_locked("job")
        assert not await cache.is_locked("job")
        await cache.close()

    asyncio.run(main())
    assert 0 < client.ttl("n") <= 60
