"""`ReplicatedLock`: it is the lock of `kv.lock()`, for threads and, by `awaitable`, for tasks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import raftline
from raftline.clients.calls.calls import CALLS
from raftline.clients.locks.contest import LOCKS, LockKeys
from raftline.clients.locks.lock import Lock
from tests.rim.lock_cluster import HELD, AioCluster, Cluster
from tests.rim.test_kv_locks import Threads, run, waits_for


class Store:
    """Stands in for a `KV`; each of its views asks within its own time limit."""

    name = "program"

    def __init__(self, cluster: Cluster, limit_s: float = 10.0) -> None:
        self.cluster = cluster
        self.limit_s = self.timeout = limit_s
        self.limits: list[float] = []
        self._transport = self

    def within(self, limit_s: float) -> Store:
        return Store(self.cluster, limit_s)

    def ask(self, call: Any, timeout: float | None = None) -> Any:
        self.limits.append(self.limit_s if timeout is None else timeout)
        return self.cluster.ask(call)

    def request(self, command: str, timeout: float | None = None) -> str:
        raise AssertionError("a lock asks by calls")

    def lock(self, name: str, *, ttl: int) -> Lock:
        self.ttl = ttl
        return Lock(
            self,
            self.cluster.keeper,
            self.cluster.watch,
            LockKeys(LOCKS, name),
            ttl,
            None,
            "program",
        )


class AioStore(AioCluster):
    """Stands in for an `AioKV`, at the cluster that threads use as well."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self.model, self.lines, self._others = cluster.model, cluster.lines, cluster
        self.is_closed = False
        self.ways = 1

    def lock(self, name: str = "nightly", on_lost: Any = None, ttl: int = 10) -> Any:
        return super().lock(name)

    async def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def lock(cluster: Cluster) -> raftline.ReplicatedLock:
    return raftline.ReplicatedLock("nightly", node=Store(cluster))


def test_a_replicated_lock_and_one_of_kv_exclude_each_other(
    cluster: Cluster, lock: raftline.ReplicatedLock
) -> None:
    other, threads, got = cluster.lock("nightly"), Threads(), []
    with lock:
        assert cluster.keys()[HELD] == lock.holder()
        assert other.acquire(timeout=0) is None
        threads.begin(lambda: got.append(other.acquire()))
        waits_for(cluster, lambda: len(cluster.keys()) == 2)  # it is next
        token = lock.token
    threads.end()
    assert got[0] > token
    assert not lock.acquire(blocking=False)
    other.release()
    assert lock.acquire(timeout=5)
    assert lock.check() == lock.token > got[0]
    lock.release()
    assert not lock.locked()
    assert cluster.keys() == {}


def test_a_replicated_lock_that_was_broken_reports_its_loss(
    cluster: Cluster, lock: raftline.ReplicatedLock
) -> None:
    assert lock.acquire()
    assert lock._key == HELD  # what `delete` deletes
    cluster.ask(CALLS.delete(HELD))
    with pytest.raises(raftline.LockLost, match=f"{HELD} no longer belongs to this program"):
        lock.check()
    assert not lock.is_held
    with pytest.raises(raftline.LockLost):
        lock.release()
    with pytest.raises(RuntimeError, match="not held by this program"):
        lock.release()
    with pytest.raises(RuntimeError, match="not held by this program"):
        lock.check()


def test_a_replicated_lock_within_another_time_limit_is_the_same_lock(cluster: Cluster) -> None:
    lock = raftline.ReplicatedLock("nightly", node=Store(cluster), timeout=5.0)
    with lock.within(2.0) as hasty:
        store: Any = hasty._store
        assert set(store.limits) == {2.0}
        assert (hasty.token, hasty.is_held) == (lock.token, True)
        assert not lock.acquire(blocking=False)
    assert not lock.is_held
    assert lock.acquire(blocking=False)
    lock.within(2.0).release()
    assert not lock.locked()
    store = lock._store
    assert set(store.limits) == {5.0}


@pytest.mark.parametrize(("lease", "ttl"), [(0.1, 1), (1.0, 1), (2.5, 3), (86_400, 86_400)])
def test_a_lease_of_a_replicated_lock_is_rounded_up(
    cluster: Cluster, lease: float, ttl: int
) -> None:
    store = Store(cluster)
    raftline.ReplicatedLock("nightly", node=store, lease=lease)
    assert store.ttl == ttl


@pytest.mark.parametrize("lease", [0.0, 0.099, 86_401.0, -1.0])
def test_a_lease_that_can_be_none_is_refused(cluster: Cluster, lease: float) -> None:
    with pytest.raises(ValueError, match=r"from 0\.1 seconds to a day"):
        raftline.ReplicatedLock("nightly", node=Store(cluster), lease=lease)


def of_tasks(cluster: Cluster) -> tuple[raftline.ReplicatedLock, list[AioStore]]:
    lock = raftline.ReplicatedLock("nightly", node=Store(cluster))
    made: list[AioStore] = []

    def connect() -> Any:
        made.append(AioStore(cluster))
        return made[-1]

    lock._for_tasks._connect = connect
    return lock, made


def test_tasks_and_threads_have_one_lock_in_turn(cluster: Cluster) -> None:
    lock, made = of_tasks(cluster)

    async def work() -> None:
        order: list[int] = []

        async def enter(number: int) -> None:
            async with lock.awaitable as held:
                assert held.is_held
                assert await held.check() == held.token
                assert not lock.is_held
                assert not lock.acquire(blocking=False)  # a thread's
                assert await held.locked()
                order.append(number)

        await asyncio.gather(*map(enter, range(5)))
        assert order == list(range(5))
        with lock:
            assert not await lock.awaitable.acquire(blocking=False)
            assert await lock.awaitable.holder() is not None
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(lock.awaitable.acquire(), 0.05)
        with pytest.raises(RuntimeError, match="not held by this program"):
            await lock.awaitable.release()
        assert not lock.awaitable.is_held

    run(work)
    assert cluster.keys() == {}
    assert len(made) == 4  # one for five tasks, then one for each question
    assert all(each.is_closed for each in made)


def test_a_task_reports_the_loss_of_its_lock_and_ends_its_connection(cluster: Cluster) -> None:
    lock, made = of_tasks(cluster)

    async def loses() -> None:
        async with lock.awaitable:
            cluster.ask(CALLS.delete(HELD))

    async def work() -> None:
        with pytest.raises(raftline.LockLost):
            await loses()
        assert await lock.awaitable.acquire()
        await lock.awaitable.release()

    run(work)
    assert all(each.is_closed for each in made)
    assert cluster.keys() == {}


def test_a_lock_of_tasks_leaves_a_silent_node_as_soon_as_one_of_threads() -> None:
    with raftline.connect("localhost:1", silence=3, timeout=2) as kv:
        lock = raftline.ReplicatedLock("nightly", node=kv).awaitable
        tasks = lock._connect()
        assert tasks.timeout == 2
        assert tasks._addresses.health.silence_s == 3


def test_a_lock_is_of_a_node_a_kv_or_clients() -> None:
    with raftline.Clients("localhost:1") as clients, raftline.connect("localhost:1") as kv:
        node = type("Node", (), {"name": "n", "request": kv.request, "kv": kv})()
        for each in (clients, kv, node):
            lock = raftline.ReplicatedLock("nightly", node=each, timeout=0.2)
            assert not lock.is_held
            with pytest.raises(raftline.Unreachable):
                lock.holder()
