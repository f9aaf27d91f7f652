"""Libraries that send scripts, or use streams, at a real node."""

from __future__ import annotations

import asyncio
import datetime
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import pytest

from raftline.redis.harness.library_scripts import TEXTS
from raftline_testing.nodes.cluster import Cluster

AT_ONCE = 3


@pytest.fixture
def port(nodes: Cluster) -> int:
    nodes.wait_until_begun()
    return nodes["s1"].port


@pytest.fixture
def client(port: int) -> Any:
    redis = pytest.importorskip("redis", reason="the libraries ask through it")
    client = redis.Redis(port=port)
    client.flushall()
    return client


def library(name: str) -> Any:
    """Return a library, without its types."""
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


@pytest.mark.parametrize("version", [2, 3])
def test_limits_keeps_the_times_of_a_moving_window(client: Any, port: int, version: int) -> None:
    limits = library("limits")
    store = limits.storage.storage_from_string(f"redis://localhost:{port}?protocol={version}")
    window, rate = limits.strategies.MovingWindowRateLimiter(store), limits.parse("3/minute")
    assert [window.hit(rate, "u") for _ in range(4)] == [True, True, True, False]
    assert window.get_window_stats(rate, "u").remaining == 0
    (key,) = client.keys("*")
    assert client.llen(key) == 3
    assert 0 < client.ttl(key) <= 60


def test_redis_py_registers_a_script(client: Any) -> None:
    """It sends the text again to a node that has forgotten it, also before a transaction."""
    count = client.register_script(TEXTS["incr-expire"][0])
    assert count(keys=["n"], args=[60]) == 1
    client.script_flush()
    assert count(keys=["n"], args=[60]) == 2
    client.script_flush()
    with client.pipeline() as pipe:
        pipe.set("other", 1)
        count(keys=["n"], args=[60], client=pipe)
        assert pipe.execute() == [True, 3]
    with pytest.raises(import_module("redis").ResponseError, match="Error compiling script"):
        client.register_script("return +")()
    assert client.get("n") == b"3"


def test_rq_runs_jobs_and_keeps_their_results(client: Any) -> None:
    """A result is in a stream, for which `latest_result` waits; a scheduler holds a lock."""
    rq = library("rq")
    queue = rq.Queue(connection=client)
    scheduler = library("rq.scheduler").RQScheduler([queue], connection=client)
    now, later = queue.enqueue(len, "abc"), queue.enqueue_in(datetime.timedelta(0), len, "abcd")
    with ThreadPoolExecutor() as threads:
        result = threads.submit(now.latest_result, timeout=60)
        assert scheduler.acquire_locks() == {"default"}
        scheduler.enqueue_scheduled_jobs()
        worker = rq.SimpleWorker([queue], connection=client)
        assert worker.ip_address.startswith("127.0.0.1:")
        worker.work(burst=True)
        assert result.result().return_value == 3
    assert later.latest_result().return_value == 4
    scheduler.release_locks()
    assert not client.exists("rq:scheduler-lock:default")


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


def test_python_redis_lock_wakes_who_waits(client: Any) -> None:
    redis_lock = library("redis_lock")
    held, other = [redis_lock.Lock(client, "job", expire=60) for _ in range(2)]
    assert held.acquire()
    assert not other.acquire(blocking=False)
    held.extend(90)
    assert 60 < client.ttl("lock:job") <= 90
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(other.acquire, timeout=60)
        held.release()
        assert waiting.result()
    with pytest.raises(redis_lock.NotAcquired):
        held.release()
    held.reset()
    assert not client.exists("lock:job")


def test_the_lock_of_walrus_is_held_by_one(client: Any, port: int) -> None:
    walrus = library("walrus")
    store = walrus.Database(host="localhost", port=port)
    held, other = [store.lock("job", ttl=60_000, lock_id=name) for name in ("one", "two")]
    assert held.acquire()
    assert not other.acquire(block=False)
    assert not other.release()
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(other.acquire)
        assert held.release()
        assert waiting.result()
    assert other.release()


def test_pyrate_limiter_fills_a_bucket(client: Any) -> None:
    pyrate = library("pyrate_limiter")
    rates = [pyrate.Rate(3, pyrate.Duration.MINUTE), pyrate.Rate(4, pyrate.Duration.HOUR)]
    bucket = pyrate.RedisBucket.init(rates, client, "bucket")
    item = pyrate.RateItem("a", bucket.now(), weight=2)
    assert bucket.put(item)
    assert not bucket.put(item)
    assert bucket.failing_rate == rates[0]
    assert client.zcard("bucket") == 2


def test_channels_sends_to_a_group(port: int) -> None:
    core = library("channels_redis.core")

    async def main() -> None:
        layer = core.RedisChannelLayer(hosts=[f"redis://localhost:{port}"], capacity=2)
        for name in ("one", "two"):
            await layer.group_add("all", name)
        for number in range(3):
            await layer.group_send("all", {"type": "news", "number": number})
        for name in ("one", "two"):
            got = [(await layer.receive(name))["number"] for _ in range(2)]
            assert got == [0, 1], "there was no room for the third"
        await layer.close_pools()

    asyncio.run(main())


def test_kombu_ends_the_tables_of_queues_that_expire(client: Any, port: int) -> None:
    kombu = library("kombu")
    with kombu.Connection(f"redis://localhost:{port}/0") as connection:
        channel = connection.channel()
        queue = kombu.Queue("jobs", kombu.Exchange("work"), routing_key="k", expires=60)
        producer = kombu.Producer(channel, exchange=queue.exchange, routing_key="k")
        producer.publish({"n": 5}, declare=[queue])
        message = queue(channel).get()
        assert message.payload == {"n": 5}
        message.ack()
        (deadlines,) = client.keys("*deadlines*")
        assert client.zrange(deadlines, 0, -1) == [b"work"]
        client.zadd(deadlines, {"work": 1})
        assert channel.sweep_bindings() == 1
        assert not client.exists(deadlines, "_kombu.binding.work")


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


def test_huey_runs_delayed_tasks(client: Any, port: int) -> None:
    """Its consumer takes those that are due by a script."""
    app = library("huey").RedisHuey("jobs", host="localhost", port=port)
    task = app.task(name="job")(lambda item: item)
    for item, delay_s in (("later", 3600), ("due", 60)):
        task.schedule((item,), delay=delay_s)
        app.execute(app.dequeue())  # as a consumer does: it is not due
    assert app.read_schedule() == []
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=2)
    assert [each.args for each in app.read_schedule(soon.replace(tzinfo=None))] == [("due",)]
    assert [each.args for each in app.scheduled()] == [("later",)]


def test_cashews_counts_and_locks(client: Any, port: int) -> None:
    cashews = library("cashews")

    async def main() -> None:
        cache = cashews.Cache()
        cache.setup(f"redis://localhost:{port}", client_side=False, suppress=False)
        assert [await cache.incr("n", expire=60) for _ in range(AT_ONCE)] == [1, 2, 3]
        async with cache.lock("job", expire=60):
            assert await cache.is_locked("job")
        assert not await cache.is_locked("job")
        window = [await cache.slice_incr("w", 0, now, 2, expire=60) for now in (1, 2, 3)]
        assert window == [1, 2, 2]
        await cache.close()

    asyncio.run(main())
    assert 0 < client.ttl("n") <= 60
