"""Programs that have libraries in Python send their scripts: in_python.py NAME PORT

They say nothing about what they get: a recorder between them and a Redis notes what they ask.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

NAME, PORT = (*sys.argv[1:3], "", "")[:2]
URL = f"redis://localhost:{PORT}"


def redis_py() -> Any:
    return import_module("redis").Redis(port=int(PORT))


def use_redis_py() -> None:
    store = redis_py()
    lock, other = store.lock("job", timeout=60), store.lock("job", timeout=60)
    lock.acquire()
    other.acquire(blocking=False)
    lock.extend(30)
    lock.extend(90, replace_ttl=True)
    lock.reacquire()
    lock.release()
    count = store.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    with store.pipeline() as pipe:
        count(keys=["n"], args=[2], client=pipe)
        count(keys=["n"], args=["x"], client=pipe)
        pipe.execute(raise_on_error=False)


def coredis() -> None:
    library = import_module("coredis")

    async def main() -> None:
        client = library.Redis(port=int(PORT))
        async with client, client.lock("job", timeout=60) as lock:
            await lock.extend(30)
            async with contextlib.AsyncExitStack() as stack:
                with contextlib.suppress(Exception):
                    await stack.enter_async_context(client.lock("job", timeout=60, blocking=False))

    asyncio.run(main())


def dramatiq() -> None:
    library = import_module("dramatiq")
    broker = import_module("dramatiq.brokers.redis").RedisBroker(url=URL)
    library.set_broker(broker)

    actor = library.actor(str)
    for item in range(6):
        actor.send(item)
    actor.send_with_options(args=(7,), delay=100)
    worker = library.Worker(broker, worker_timeout=100)
    worker.start()
    broker.join(actor.queue_name, timeout=20_000)
    worker.stop()
    broker.flush_all()
    broker.close()


def saq() -> None:
    library = import_module("saq")

    async def work(ctx: Any, *, item: int) -> int:
        if item == 2:
            raise ValueError(item)
        return item

    async def main() -> None:
        queue = library.Queue.from_url(URL)
        await queue.connect()
        for item in range(4):
            await queue.enqueue("work", item=item, key=f"k{item % 3}", retries=2)
        await queue.enqueue("work", item=9, scheduled=time.time() - 1)
        later = await queue.enqueue("work", item=8, scheduled=time.time() + 900)
        await queue.abort(later, "no")
        timers = {"schedule": 1, "sweep": 1}
        worker = library.Worker(queue, functions=[("work", work)], timers=timers,
                                dequeue_timeout=0.2)  # fmt: skip
        running = asyncio.create_task(worker.start())
        await asyncio.sleep(3)
        await queue.sweep(1, 0.0)
        await worker.stop()
        running.cancel()
        await queue.disconnect()

    asyncio.run(main())


def throttled() -> None:
    library = import_module("throttled")
    store = library.RedisStore(server=URL)
    for kind in library.RateLimiterType:
        limit = library.Throttled(using=kind.value, quota=library.per_sec(2, burst=2), store=store)
        for cost in (1, 1, 1, 2, 3):
            limit.limit("user", cost)
            limit.peek("user")
        time.sleep(1.1)
        limit.limit("user")


def rq() -> None:
    library = import_module("rq")
    store = redis_py()
    queue = library.Queue("jobs", connection=store)
    for _ in range(2):
        with contextlib.suppress(Exception):
            queue.enqueue(len, "abc", job_id="one", unique=True)
        with contextlib.suppress(Exception):
            soon = datetime.timedelta(seconds=60)
            queue.enqueue_in(soon, len, "abc", job_id="later", unique=True)
    rate = import_module("rq.rate_limit").RateLimit("mail", 1)
    for item in ("a", "bc", 5):
        queue.enqueue(len, item, rate_limit=rate)
    library.SimpleWorker([queue], connection=store).work(burst=True)
    registry = import_module("rq.rate_limit").RateLimitRegistry("mail", store)
    jobs = [queue.enqueue(len, "d", rate_limit=rate) for _ in range(3)]
    registry.release_stale_and_enqueue(jobs[0].id)
    registry.cancel(jobs[1].id)
    registry.cleanup()
    queue.empty()


def huey() -> None:
    library = import_module("huey")
    helpers = import_module("huey.contrib.helpers")
    app = library.RedisHuey("jobs", host="localhost", port=int(PORT))
    task = app.task(name="job", retries=1, retry_delay=60)(lambda item: 1 / item)
    for item in (1, 0):
        task(item)
        task.schedule((item,), delay=30)
    for _ in range(4):
        app.execute(app.dequeue())
    app.read_schedule()
    app.read_schedule(datetime.datetime.now() + datetime.timedelta(days=1))
    app.scheduled()
    for name in ("RateLimit", "RedisSemaphore"):
        kind = getattr(helpers, name, None)
        if kind is not None:
            held = kind(app, "few", 2)
            for _ in range(3):
                with contextlib.suppress(Exception):
                    held.acquire("me")
                    held.acquire()
                    held.renew("me")
                    held.release("me")


def walrus() -> None:
    library = import_module("walrus")
    store = library.Database(port=int(PORT))
    items = store.Array("items")
    items.extend(["a", "b", "c", "d"])
    items.append("e")
    items[1] = "x"
    items[0], items[-1], list(items), items.pop(), items.pop(0)
    del items[0]
    store.set("word", "one")
    store.cas("word", "one", "two"), store.cas("word", "one", "three")
    lock = store.lock("job", ttl=60_000)
    lock.acquire()
    store.lock("job", ttl=60_000).acquire(block=False)
    lock.release()
    limit = store.rate_limit_lua("few", limit=2, per=60)
    [limit.limit("u") for _ in range(3)]
    store.ZSet("z").add({"a": 1, "b": 2, "c": 3})
    store.run_script("zset_score_filter", keys=["z", "y"], args=[">", 1])

    fields = {
        "__database__": store,
        "text": library.TextField(index=True, primary_key=True),
        "stars": library.IntegerField(index=True),
    }
    note: Any = type("Note", (library.Model,), fields)

    for text, stars in (("a", 1), ("b", 2), ("c", 3)):
        note.create(text=text, stars=stars)
    list(note.query(fields["stars"] >= 2))


def limits() -> None:
    library = import_module("limits")
    store = library.storage.storage_from_string(URL)
    rate = library.parse("3/minute")
    for kind in ("FixedWindow", "MovingWindow", "SlidingWindowCounter"):
        window = getattr(library.strategies, f"{kind}RateLimiter")(store)
        for cost in (1, 1, 2, 1, 4):
            window.hit(rate, kind, cost=cost)
            window.test(rate, kind)
            window.get_window_stats(rate, kind)
        window.clear(rate, kind)
    with contextlib.suppress(Exception):
        store.reset()


def fastapi_cache() -> None:
    backend = import_module("fastapi_cache.backends.redis")

    async def main() -> None:
        cache = backend.RedisBackend(import_module("redis.asyncio").Redis(port=int(PORT)))
        await cache.set("all:a", b"1", 60)
        await cache.clear(namespace="all")

    asyncio.run(main())


def channels_redis() -> None:
    core = import_module("channels_redis.core")

    async def main() -> None:
        layer = core.RedisChannelLayer(hosts=[URL], capacity=2)
        for name in ("one", "two"):
            await layer.group_add("all", name)
        for number in range(4):
            await layer.group_send("all", {"type": "news", "number": number})
        for name in ("one", "two"):
            await layer.receive(name)
        await layer.flush()
        await layer.close_pools()

    asyncio.run(main())


def streaq() -> None:
    library = import_module("streaq")

    async def main() -> None:
        worker = library.Worker(redis_url=URL)
        task = worker.task()(lambda: 1)
        async with worker:
            await task.enqueue()

    with contextlib.suppress(BaseException):
        import_module("anyio").run(main)


def aiocache() -> None:
    library, locks = import_module("aiocache"), import_module("aiocache.lock")

    async def main() -> None:
        cache = library.Cache(library.Cache.REDIS, endpoint="localhost", port=int(PORT))
        async with locks.RedLock(cache, "k", lease=60):
            await cache.set("k", "1")
        async with locks.OptimisticLock(cache, "k") as held:
            await held.cas("2", ttl=60)
            with contextlib.suppress(locks.OptimisticLockError):
                await held.cas("3")
        async with locks.OptimisticLock(cache, "k") as held:
            await cache.set("k", "4")
            with contextlib.suppress(locks.OptimisticLockError):
                await held.cas("5")

    asyncio.run(main())


def aioredlock() -> None:
    library = import_module("aioredlock")

    async def main() -> None:
        locks = library.Aioredlock([URL], retry_count=1)
        lock = await locks.lock("job", lock_timeout=60)
        with contextlib.suppress(Exception):
            await locks.lock("job", lock_timeout=60)
        await locks.extend(lock)
        await locks.is_locked("job")
        with contextlib.suppress(Exception):
            await locks.get_active_locks()
        await locks.unlock(lock)
        with contextlib.suppress(Exception):
            await locks.extend(lock)
        await locks.destroy()

    asyncio.run(main())


def pottery() -> None:
    library, store = import_module("pottery"), redis_py()
    lock = library.Redlock(key="job", masters={store}, auto_release_time=60)
    lock.acquire()
    library.Redlock(key="job", masters={store}).acquire(blocking=False)
    lock.locked()
    lock.extend()
    lock.release()
    lock.locked()
    ids = [library.NextID(key="ids", masters={store}) for _ in range(2)]
    [next(each) for each in (*ids, *ids)]


def cashews() -> None:
    library = import_module("cashews")

    async def main() -> None:
        cache = library.Cache()
        cache.setup(URL, client_side=False, suppress=False)
        for _ in range(3):
            await cache.incr("n", expire=60)
        async with cache.lock("job", expire=60):
            await cache.is_locked("job")
        for now in (1, 2, 3):
            await cache.slice_incr("w", 0, now, 2, expire=60)
        await cache.close()

    asyncio.run(main())


def django_redis() -> None:
    import_module("django.conf").settings.configure(
        CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": URL}}
    )
    cache = import_module("django.core.cache").cache
    with contextlib.suppress(ValueError):
        cache.incr("absent")
    cache.set("n", 1)
    cache.incr("n"), cache.incr("n", 5), cache.decr("n")
    cache.incr("other", ignore_key_check=True)
    with cache.lock("job", timeout=60):
        pass


def kombu() -> None:
    library = import_module("kombu")
    with library.Connection(f"{URL}/0") as connection:
        channel = connection.channel()
        queue = library.Queue("jobs", library.Exchange("work"), routing_key="k", expires=60)
        producer = library.Producer(channel, exchange=queue.exchange, routing_key="k")
        for number in range(3):
            producer.publish({"n": number}, declare=[queue])
            queue(channel).get().ack()
        if hasattr(channel, "sweep_bindings"):
            redis_py().zadd(redis_py().keys("*deadlines*")[0], {"work": 1})
            channel.sweep_bindings()


def redbeat() -> None:
    library = import_module("redbeat.schedulers")
    app = import_module("celery").Celery(broker=URL)
    app.conf.update(redbeat_redis_url=URL, beat_max_loop_interval=1)
    beat = library.RedBeatScheduler(app, lazy=True)

    class Sender:
        scheduler = beat

    library.acquire_distributed_beat_lock(Sender)
    every = import_module("celery.schedules").schedule(60)
    entry = library.RedBeatSchedulerEntry("tick", "work", every, app=app)
    entry.save()
    beat.lock.extend(30)
    beat.lock.extend(90)
    beat.close()


def pyrate_limiter() -> None:
    library = import_module("pyrate_limiter")
    rates = [library.Rate(3, library.Duration.MINUTE), library.Rate(4, library.Duration.HOUR)]
    bucket = library.RedisBucket.init(rates, redis_py(), "bucket")
    for weight in (2, 2, 1, 1):
        item = library.RateItem("a", bucket.now(), weight=weight)
        bucket.put(item)
        bucket.leak(bucket.now())
    bucket.flush()


PROGRAMS: dict[str, Callable[[], None]] = {
    "aiocache": aiocache, "aioredlock": aioredlock, "cashews": cashews,
    "celery-redbeat": redbeat, "channels_redis": channels_redis, "coredis": coredis,
    "django-redis": django_redis, "dramatiq": dramatiq, "fastapi-cache2": fastapi_cache,
    "huey": huey, "kombu": kombu, "limits": limits, "pottery": pottery,
    "pyrate-limiter": pyrate_limiter, "redis": use_redis_py, "rq": rq, "saq": saq,
    "streaq": streaq, "throttled-py": throttled, "walrus": walrus,
}  # fmt: skip

if __name__ == "__main__":
    PROGRAMS[NAME]()
