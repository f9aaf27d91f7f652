"""Workers with libraries in Python: workers.py work|put|feed|version LIBRARY MODE FILE ITEM PORT …

A worker appends the item of each job to a file. It is written as the library's own pages show it,
and catches no error that the library hands to it, but for the loop with redis-py alone, which
continues after the end of a connection as each of these libraries does.

`feed` adds ITEM jobs a second until its standard input ends, and prints a line about each: `did put
NUMBER SECONDS`, or `failed put NUMBER ERROR`, after which the job may be there, or not.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import select
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

ACTION, LIBRARY, MODE, FILE, ITEM, *PORTS = sys.argv[1:] if len(sys.argv) > 6 else [""] * 6
QUEUE, SERVICE = "jobs", "raftline"
# How a library adds a job, and how its worker runs.
Parts = tuple[Callable[[str], object], Callable[[], object]]


def note(item: str) -> None:
    """Do a job."""
    with Path(FILE).open("a") as file:
        file.write(f"{item}\n")


def feed(put: Callable[[str], object]) -> None:
    """Add jobs at an even rate, and catch up after those that took long."""
    begin_s = time.monotonic()
    for number in itertools.count(1):
        due_s = begin_s + number / float(ITEM)
        if select.select([sys.stdin], [], [], max(0.0, due_s - time.monotonic()))[0]:
            return
        start_s = time.monotonic()
        try:
            put(str(number))
        except Exception as failure:
            reason = " ".join(str(failure).split())
            print(f"failed put {number} {type(failure).__name__}: {reason}", flush=True)
        else:
            print(f"did put {number} {time.monotonic() - start_s:.3f}", flush=True)


def nodes() -> list[tuple[str, int]]:
    return [("localhost", int(port)) for port in PORTS]


def store() -> Any:
    """Return a client that waits for a reply as long as it takes, as a worker does."""
    redis, forever = import_module("redis"), {"socket_timeout": None}
    if MODE == "Sentinel":
        return redis.Sentinel(nodes()).master_for(SERVICE, **forever)
    if MODE == "cluster":
        each = import_module("redis.cluster").ClusterNode
        return redis.RedisCluster(startup_nodes=[each(*node) for node in nodes()], **forever)
    return redis.Redis(port=int(PORTS[0]), **forever)


def redis_py() -> Parts:
    client = store()

    def work() -> None:
        while True:
            try:
                note(client.brpop(QUEUE, 0)[1].decode())
            except import_module("redis").ConnectionError as ended:
                print(ended, flush=True)

    return partial(client.lpush, QUEUE), work


def celery() -> Parts:
    own = f"{os.getpid()}@%h"
    # A job that a worker took and does not end is for another one after this time, not an hour.
    options: dict[str, Any]
    url, options = f"redis://localhost:{PORTS[0]}/0", {"visibility_timeout": 60}
    if MODE == "Sentinel":
        url = ";".join(f"sentinel://localhost:{port}" for port in PORTS)
        options |= {"master_name": SERVICE}
    app = import_module("celery").Celery(QUEUE, broker=url, broker_transport_options=options)
    task = app.task(note, name="note")
    return task.delay, partial(app.worker_main, ["worker", "-P", "threads", "-c", "1", "-n", own])


def rq() -> Parts:
    library, client = import_module("rq"), store()
    queue = library.Queue(connection=client, default_timeout=60)

    def put(item: str) -> None:
        queue.enqueue("workers.note", item, retry=library.Retry(max=3))

    def work() -> None:  # what a worker has left is for another one after some minutes, not hours
        often = {"maintenance_interval": 60, "worker_ttl": 75}
        library.SimpleWorker([queue], connection=client, **often).work()

    return put, work


def huey() -> Parts:
    library = import_module("huey")
    app = library.RedisHuey(QUEUE, connection_pool=store().connection_pool)
    task = app.task(name="note")(note)
    return task, lambda: app.create_consumer().run()


def arq() -> Parts:
    connections, worker = import_module("arq.connections"), import_module("arq.worker")
    redis, backoff = import_module("redis.asyncio.retry"), import_module("redis.backoff")
    repeats: dict[str, Any] = {  # without them it ends more often while there is no leader
        "retry": redis.Retry(backoff.ConstantBackoff(0.3), 100),
        "retry_on_error": [import_module("redis").ConnectionError],
    }
    settings = connections.RedisSettings(port=int(PORTS[0]), **repeats)
    if MODE == "Sentinel":
        settings = connections.RedisSettings(
            nodes(), sentinel=True, sentinel_master=SERVICE, **repeats
        )

    async def job(_: Any, item: str) -> None:
        note(item)

    async def put(item: str) -> None:
        await (await connections.create_pool(settings)).enqueue_job("note", item)

    def work() -> None:
        worker.Worker([worker.func(job, name="note")], redis_settings=settings).run()

    return lambda item: asyncio.run(put(item)), work


def sidekiq() -> Parts:
    """Add a job as Sidekiq writes it."""
    client = store()

    def put(item: str) -> None:
        job = {"class": "Note", "args": [item], "jid": item, "queue": "default", "retry": True}
        client.lpush("queue:default", json.dumps(job))

    return put, redis_py()[1]


LIBRARIES: dict[str, Callable[[], Parts]] = {
    "redis": redis_py,
    "celery": celery,
    "rq": rq,
    "huey": huey,
    "arq": arq,
}
OTHERS: dict[str, Callable[[], Parts]] = {"ioredis": redis_py, "sidekiq": sidekiq}


def main() -> None:
    if ACTION == "version":
        print(metadata.version(LIBRARY), "with redis-py", metadata.version("redis"))
        return
    put, work = (LIBRARIES | OTHERS)[LIBRARY]()
    if ACTION == "work":
        work()
    elif ACTION == "feed":
        feed(put)
    else:
        put(ITEM)


if __name__ == "__main__":
    main()
