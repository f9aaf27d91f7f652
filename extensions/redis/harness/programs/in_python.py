"""The programs with libraries in Python: as program.mjs: in_python.py NAME PREFIX PORT …"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

WORKERS = 2
PAUSE_S = 0.003

PREFIX, PORTS = "".join(sys.argv[2:3]), sys.argv[3:]
ended = threading.Event()


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def tried(word: str, item: str, call: Callable[[], Any]) -> Any:
    """Carry out a call, print what became of it, and return its answer; False if it failed.
    Without an item, the answer is the item, and None says that there was none."""
    try:
        answer = call()
    except Exception as error:
        say("failed", word, item or "-", str(error).replace("\n", " "))
        return False
    if item or answer is not None:
        say("did", word, item or answer.decode())
    return answer


def repeat(operation: Callable[[str, str], None]) -> None:
    """Repeat an operation with new items in several threads, until the program is to end."""

    def work(worker: int) -> None:
        for count in itertools.count():
            if ended.is_set():
                return
            operation(f"{worker}.{count}", f"w{worker}")
            time.sleep(PAUSE_S)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(WORKERS)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()


def by_sentinel() -> Any:
    """Return redis-py in Sentinel mode, which sends nothing twice."""
    sentinel = import_module("redis.sentinel").Sentinel([("localhost", port) for port in PORTS])
    return sentinel.master_for("raftline")


def redis_py() -> None:
    """A list as a queue."""
    store = by_sentinel()

    def operation(item: str, _: str) -> None:
        tried("put", item, lambda: store.lpush(PREFIX, item))
        if not item.endswith("0"):  # so that a few remain
            tried("take", "", lambda: store.rpop(PREFIX))

    repeat(operation)
    for item in store.lrange(PREFIX, 0, -1):
        say("holds", item.decode())


def walrus() -> None:
    """A hash, written and read as a mapping."""
    pool = by_sentinel().connection_pool
    items = import_module("walrus").Database(connection_pool=pool).Hash(PREFIX)
    repeat(lambda item, _: tried("put", item, lambda: items.update({item: "1"})))
    for item in items.keys():  # noqa: SIM118 - it is no dict
        say("holds", item.decode())


def limits() -> None:
    """Hits in a fixed window."""
    library = import_module("limits")
    address = ",".join(f"localhost:{port}" for port in PORTS)
    store = library.storage.storage_from_string(
        f"redis+sentinel://{address}/raftline", use_replicas=False
    )
    limiter = library.strategies.FixedWindowRateLimiter(store)
    rate = library.parse("1000000/day")
    repeat(lambda item, _: tried("count", item, lambda: limiter.hit(rate, PREFIX)))
    say("counts", 1_000_000 - limiter.get_window_stats(rate, PREFIX).remaining)


def python_redis_lock() -> None:
    """Two workers hold a lock by turns."""
    library, store = import_module("redis_lock"), by_sentinel()

    def operation(_: str, worker: str) -> None:
        lock = library.Lock(store, PREFIX, expire=3)
        if tried("lock", worker, lambda: lock.acquire(timeout=3) or fail("not acquired")) is True:
            time.sleep(PAUSE_S)
            say("leaving", worker)
            tried("unlock", worker, lock.release)

    repeat(operation)


def fail(reason: str) -> bool:
    raise TimeoutError(reason)


PROGRAMS = {
    "redis-py": redis_py,
    "walrus": walrus,
    "limits": limits,
    "python-redis-lock": python_redis_lock,
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]]()
