"""Workers with libraries in Python: workers.py work|put|version LIBRARY MODE FILE ITEM PORT …

A worker appends the item of each job to a file. It is written as the library's own pages show it,
and catches no error that the library hands to it, but for the loop with redis-py alone, which
continues after the end of a connection as each of these libraries does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

ACTION, LIBRARY, MODE, FILE, ITEM, *PORTS = sys.argv[1:] if len(sys.argv) > 6 else [""] * 6
QUEUE, SERVICE = "jobs", "raftline"


def note(item: str) -> None:
    """Do a job."""
    with Path(FILE).open("a") as file:
        file.write(f"{item}\n")


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


def redis_py() -> None:
    client = store()
    while ACTION == "work":
        try:
            note(client.brpop(QUEUE, 0)[1].decode())
        except import_module("redis").ConnectionError as ended:
            print(ended, flush=True)
    client.lpush(QUEUE, ITEM)


def celery() -> None:
    url, options = f"redis://localhost:{PORTS[0]}/0", {}
    if MODE == "Sentinel":
        url = ";".join(f"sentinel://localhost:{port}" for port in PORTS)
        options = {"master_name": SERVICE}
    app = import_module("celery").Celery(QUEUE, broker=url, broker_transport_options=options)
    task = app.task(note, name="note")
    if ACTION == "work":
        app.worker_main(["worker", "-P", "threads", "-c", "1"])
    else:
        task.delay(ITEM)


def rq() -> None:
    library, client = import_module("rq"), store()
    queue = library.Queue(connection=client)
    if ACTION == "work":
        library.SimpleWorker([queue], connection=client).work()
    else:
        queue.enqueue("workers.note", ITEM)


def huey() -> None:
    library = import_module("huey")
    app = library.RedisHuey(QUEUE, connection_pool=store().connection_pool)
    task = app.task(name="note")(note)
    if ACTION == "work":
        app.create_consumer().run()
    else:
        task(ITEM)


def arq() -> None:
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

    async def put() -> None:
        await (await connections.create_pool(settings)).enqueue_job("note", ITEM)

    if ACTION == "work":
        worker.Worker([worker.func(job, name="note")], redis_settings=settings).run()
    else:
        asyncio.run(put())


def sidekiq() -> None:
    """Add a job as Sidekiq writes it."""
    job = {"class": "Note", "args": [ITEM], "jid": ITEM, "queue": "default", "retry": True}
    store().lpush("queue:default", json.dumps(job))


LIBRARIES: dict[str, Callable[[], None]] = {
    "redis": redis_py,
    "celery": celery,
    "rq": rq,
    "huey": huey,
    "arq": arq,
}
OTHERS: dict[str, Callable[[], None]] = {"ioredis": redis_py, "sidekiq": sidekiq}

if __name__ == "__main__":
    if ACTION == "version":
        print(metadata.version(LIBRARY), "with redis-py", metadata.version("redis"))
    else:
        (LIBRARIES | OTHERS)[LIBRARY]()
