"""Growth row of what programs build with: a read with its version, a lock, a queue of jobs and an
import, each by the client that a Python program would use."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from growth_clients import Counted

import raftline
import raftline.aio
import redis_server
import zookeeper_nodes
from clusters import Cluster
from etcd_nodes import Etcd
from generator import BenchError, Load
from growth_setup import Setup
from raftline_nodes import Raftline
from redis_server import Redis
from zookeeper_nodes import ZooKeeper

CLI = Path(__file__).resolve().parents[3] / "src" / "cli.py"
CALLERS = (1, 8)
KEY, VALUE = "kitchen", "v" * 100
HELD_S = 60  # of a lease: longer than a measurement
LIMIT_S = 60  # of a request with many keys: a busy machine takes seconds for each
IMPORTED = 50_000
TENS, MANY = 10, 20_000  # jobs that are taken at a time, and that are there
TOGETHER = 128  # sets of one transaction

Do = Callable[[], object]  # one operation, or as many as the int that it returns; 0: none is left
Way = Callable[[int, int], AbstractContextManager[Do]]  # by the leader's port, and who calls


def recipes(setup: Setup) -> None:
    """Measure operations of programs, by one caller and by eight, each with its own client: set a
    value; read one with its version; acquire and release a free lock; put a job; put a job, take
    one and end it; take and end jobs that are there by tens. Then import 50,000 keys of 100 bytes
    from a file."""
    for kind, ways in _present(setup).items():
        with kind(setup.folder, setup.port, 1 if kind is Redis else 3) as cluster:
            port = cluster.port(cluster.wait_for_leader())
            for name, way in ways.items():
                for callers in CALLERS:
                    figures = _figures(way, port, callers, setup.seconds)
                    setup.add(f"{name}, {callers}", cluster, figures)
    with Raftline(setup.folder, setup.port) as nodes:
        port = nodes.port(nodes.wait_for_leader())
        setup.add("import", nodes, _rate(_import(nodes.folder, port)))
    with Raftline(setup.folder, setup.port) as nodes:
        port = nodes.port(nodes.wait_for_leader())
        setup.rows.add("import", "raftline, pipeline", _rate(lambda: _pipeline(port)))
    if redis_server.version() is not None:
        with Redis(setup.folder, setup.port, 1) as server:
            setup.add("import", server, _rate(_pipe(server.folder, server.port(0))))


def _present(setup: Setup) -> Mapping[type[Cluster], Mapping[str, Way]]:
    """Return the ways of the systems that are installed."""
    ways: dict[type[Cluster], dict[str, Way]] = {
        Raftline: {
            "set": _raftline_set,
            "read": _raftline_read,
            "lock": _raftline_lock,
            "lock, release not awaited": partial(_raftline_lock, wait_release=False),
            "put": _raftline_put,
            "queue": _raftline_queue,
            "queue, end and take in one": _raftline_exchange,
            "queue by tens": _raftline_tens,
        }
    }
    if setup.etcd:
        ways[Etcd] = {"read": _etcd_read, "lock": _etcd_lock}
    if zookeeper_nodes.version() is not None:
        ways[ZooKeeper] = {
            "read": _kazoo_read,
            "lock": _kazoo_lock,
            "put": _kazoo_put,
            "queue": _kazoo_queue,
        }
    if redis_server.client() is not None:
        ways[Redis] = {"lock": _redis_lock, "put": _redis_put, "queue": _redis_queue}
    return ways


def _figures(way: Way, port: int, callers: int, seconds: float) -> dict[str, float]:
    with contextlib.ExitStack() as stack:
        each = [stack.enter_context(way(port, number)) for number in range(callers)]
        counted = Counted(Load(seconds=seconds))

        def call(do: Do) -> None:
            while counted.goes_on():
                asked_s = time.monotonic()
                done = do()
                if done == 0:
                    counted.stop()
                for _ in range(done if isinstance(done, int) else 1):
                    counted.note(asked_s)

        pool = stack.enter_context(ThreadPoolExecutor(callers))
        for caller in [pool.submit(call, do) for do in each]:
            caller.result()
    return counted.figures()


def _rate(work: Callable[[], None]) -> dict[str, float]:
    begun_s = time.monotonic()
    work()
    return {"per_s": IMPORTED / (time.monotonic() - begun_s)}


# --- raftline -----------------------------------------------------------------------------------


@contextlib.contextmanager
def _raftline_set(port: int, number: int) -> Iterator[Do]:
    with raftline.connect(f"localhost:{port}") as kv:
        yield lambda: kv.set(f"{KEY}-{number}", VALUE)


@contextlib.contextmanager
def _raftline_read(port: int, _: int) -> Iterator[Do]:
    with raftline.connect(f"localhost:{port}") as kv:
        kv.set(KEY, VALUE)
        yield lambda: kv.read(KEY)


@contextlib.contextmanager
def _raftline_lock(port: int, number: int, *, wait_release: bool = True) -> Iterator[Do]:
    with raftline.connect(f"localhost:{port}") as kv:
        lock = kv.lock(f"lock-{number}", ttl=HELD_S, wait_release=wait_release)

        def do() -> None:
            with lock:
                pass

        yield do


@contextlib.contextmanager
def _raftline_queue(port: int, _: int) -> Iterator[Do]:
    with raftline.connect(f"localhost:{port}") as kv:
        jobs = kv.queue("jobs")

        def do() -> None:
            jobs.put(VALUE)
            with jobs.take(ttl=HELD_S) as job:
                job.done()

        yield do


@contextlib.contextmanager
def _raftline_put(port: int, _: int) -> Iterator[Do]:
    with raftline.connect(f"localhost:{port}") as kv:
        jobs = kv.queue("puts")

        def do() -> None:
            jobs.put(VALUE)

        yield do


@contextlib.contextmanager
def _raftline_exchange(port: int, _: int) -> Iterator[Do]:
    """A worker that ends its last job as it takes the next."""
    with raftline.connect(f"localhost:{port}") as kv:
        jobs = kv.queue("exchanged")
        jobs.put(VALUE)
        held = [jobs.take(ttl=HELD_S)]

        def do() -> None:
            jobs.put(VALUE)
            held[0] = jobs.take(ttl=HELD_S, done=held[0])

        yield do


@contextlib.contextmanager
def _raftline_tens(port: int, number: int) -> Iterator[Do]:
    """Jobs that are there before; ten are ended as the next ten are taken."""
    if number == 0:
        asyncio.run(_put_many(port))
    with raftline.connect(f"localhost:{port}") as kv:
        jobs = kv.queue("many")
        held = [jobs.take_many(TENS, ttl=HELD_S)]

        def do() -> int:
            held[0] = jobs.take_many(TENS, ttl=HELD_S, timeout=0, done=held[0])
            return len(held[0])

        yield do


async def _put_many(port: int) -> None:
    async with raftline.aio.connect(f"localhost:{port}", timeout=LIMIT_S) as kv:
        jobs = kv.queue("many")
        for _ in range(MANY // TOGETHER):
            await asyncio.gather(*(jobs.put(VALUE) for _ in range(TOGETHER)))


def _keys() -> Iterator[str]:
    return (f"key-{number:012}" for number in range(IMPORTED))


def _import(folder: Path, port: int) -> Callable[[], None]:
    """Return the import of a file, which exists by then."""
    source = folder / "keys.jsonl"
    source.write_text("".join(f'{{"key": "{key}", "value": "{VALUE}"}}\n' for key in _keys()))
    words = ["import", str(source), "--at", f"localhost:{port}", "--timeout", str(LIMIT_S)]
    return lambda: _carry_out([sys.executable, str(CLI), *words])


def _pipeline(port: int) -> None:
    keys = list(_keys())
    with raftline.connect(f"localhost:{port}", timeout=LIMIT_S) as kv, kv.pipeline() as batch:
        for begin in range(0, len(keys), TOGETHER):
            plan = batch.txn().then
            for key in keys[begin : begin + TOGETHER]:
                plan.set(key, VALUE)
            plan.commit()


def _carry_out(command: list[str], source: Path | None = None) -> None:
    with open(source or "/dev/null", "rb") as stream:
        done = subprocess.run(command, stdin=stream, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(" ".join(f"{Path(command[0]).name}: {done.stderr}".split()))


# --- etcd: JSON over HTTP, since it has no Python client of its own -----------------------------


@contextlib.contextmanager
def _etcd(port: int) -> Iterator[Callable[[str, dict[str, object]], Any]]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as speaker:

        def ask(path: str, body: dict[str, object]) -> Any:
            speaker.request("POST", f"/v3/{path}", json.dumps(body))
            answer = speaker.getresponse()
            said = answer.read()
            if answer.status != http.HTTPStatus.OK:
                raise BenchError(f"etcd: {said.decode()[:200]}")
            return json.loads(said)

        yield ask


@contextlib.contextmanager
def _etcd_read(port: int, _: int) -> Iterator[Do]:
    with _etcd(port) as ask:
        ask("kv/put", {"key": _b64(KEY), "value": _b64(VALUE)})
        yield lambda: ask("kv/range", {"key": _b64(KEY)})["kvs"][0]["mod_revision"]


@contextlib.contextmanager
def _etcd_lock(port: int, number: int) -> Iterator[Do]:
    with _etcd(port) as ask:
        wanted = {
            "name": _b64(f"lock-{number}"),
            "lease": ask("lease/grant", {"TTL": HELD_S})["ID"],
        }
        yield lambda: ask("lock/unlock", {"key": ask("lock/lock", wanted)["key"]})


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# --- ZooKeeper, by kazoo ------------------------------------------------------------------------


@contextlib.contextmanager
def _kazoo(port: int) -> Iterator[Any]:
    from kazoo.client import KazooClient  # installed, if ZooKeeper is measured

    client: Any = KazooClient(f"127.0.0.1:{port}", timeout=HELD_S)
    client.start()
    try:
        yield client
    finally:
        client.stop()
        client.close()


@contextlib.contextmanager
def _kazoo_read(port: int, number: int) -> Iterator[Do]:
    """`sync` comes before each `get`, which alone may return an old value."""
    with _kazoo(port) as client:
        client.create(path := f"/{KEY}-{number}", VALUE.encode())

        def do() -> None:
            client.sync_async(path)
            client.get(path)

        yield do
        client.delete(path)


@contextlib.contextmanager
def _kazoo_lock(port: int, number: int) -> Iterator[Do]:
    with _kazoo(port) as client:

        def do() -> None:
            with client.Lock(f"/lock-{number}"):
                pass

        yield do


@contextlib.contextmanager
def _kazoo_put(port: int, _: int) -> Iterator[Do]:
    with _kazoo(port) as client:
        jobs = client.LockingQueue("/puts")
        yield lambda: jobs.put(VALUE.encode())


@contextlib.contextmanager
def _kazoo_queue(port: int, _: int) -> Iterator[Do]:
    with _kazoo(port) as client:
        jobs = client.LockingQueue("/jobs")

        def do() -> None:
            jobs.put(VALUE.encode())
            jobs.get()
            jobs.consume()

        yield do


# --- Redis, by redis-py and redis-cli -----------------------------------------------------------


@contextlib.contextmanager
def _redis(port: int) -> Iterator[Any]:
    import redis  # installed, if it is measured

    with contextlib.closing(redis.Redis(port=port)) as client:
        yield client


@contextlib.contextmanager
def _redis_lock(port: int, number: int) -> Iterator[Do]:
    with _redis(port) as client:

        def do() -> None:
            with client.lock(f"lock-{number}", timeout=HELD_S):
                pass

        yield do


@contextlib.contextmanager
def _redis_put(port: int, _: int) -> Iterator[Do]:
    with _redis(port) as client:
        yield lambda: client.xadd("puts", {"job": VALUE})


@contextlib.contextmanager
def _redis_queue(port: int, number: int) -> Iterator[Do]:
    """A stream, which the callers read as one group."""
    with _redis(port) as client:
        if not client.exists("jobs"):
            client.xgroup_create("jobs", "workers", mkstream=True)

        def do() -> None:
            client.xadd("jobs", {"job": VALUE})
            found = client.xreadgroup("workers", f"worker-{number}", {"jobs": ">"}, count=1)
            id_ = found[0][1][0][0] if isinstance(found, list) else found[b"jobs"][0][0][0]
            with client.pipeline(transaction=False) as pipe:
                pipe.xack("jobs", "workers", id_).xdel("jobs", id_).execute()

        yield do


def _pipe(folder: Path, port: int) -> Callable[[], None]:
    """Return the import of a file of commands, which exists by then."""
    source = folder / "keys.resp"
    form = "*3\r\n$3\r\nSET\r\n${}\r\n{}\r\n${}\r\n{}\r\n"
    source.write_text("".join(form.format(len(k), k, len(VALUE), VALUE) for k in _keys()))
    return lambda: _carry_out(["redis-cli", "-p", str(port), "--pipe"], source)


ROWS = {"recipes": recipes}


def systems() -> list[tuple[object, str]]:
    """Return the version of each other system that the row measures, and how to install it."""
    return [
        (redis_server.version(), redis_server.INSTALL),
        (redis_server.client(), redis_server.INSTALL_CLIENT),
        (zookeeper_nodes.version(), zookeeper_nodes.INSTALL),
    ]
