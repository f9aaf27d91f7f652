"""CPython's own tests of locks, on those of this client: `test.lock_tests` on `kv.lock()`, and
asyncio's `test_locks` on that of `raftline.aio`. Each lock is one object that the threads or tasks
of a test share. Some differ on purpose; docs/use/python.md says how.
"""

from __future__ import annotations

import asyncio
import itertools
import unittest
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.rim.cpython_suites import cases_of, problems
from tests.rim.lock_cluster import AioCluster, Cluster

WHY = "this Python comes without its own tests"
of_threads = pytest.importorskip("test.lock_tests", reason=WHY)
of_tasks = pytest.importorskip("test.test_asyncio.test_locks", reason=WHY)
_numbers = itertools.count()
pytestmark = pytest.mark.slow  # they wait for 20 s

# Meant to differ: a test's name, and why.
DIFFER = {
    "test_repr": "it says its name and whether it is held",
    "test_locked_repr": "it says its name and whether it is held",
    "test_at_fork_reinit": "a method of CPython itself",
}
OF_CONSTRUCTORS = {"test_lock_doesnt_accept_loop_parameter"}  # of asyncio's, which others stand for


class ThreadsLock:
    """A lock that also has what the suite asks of `threading.Lock` beside the methods."""

    def __init__(self) -> None:
        self._lock = Cluster().lock(f"n{next(_numbers)}")
        self.acquire, self.release = self._lock.acquire, self._lock.release

    def locked(self) -> bool:
        return self._lock.is_held

    def __enter__(self) -> int:
        return self._lock.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._lock.__exit__(*error)


class Lock:
    """A task's lock whose `release` is no coroutine: the cluster in memory answers at once."""

    def __init__(self) -> None:
        self._lock = AioCluster().lock(f"n{next(_numbers)}")
        self.acquire = self._lock.acquire

    def release(self) -> None:
        at_once(self._lock.release())

    def locked(self) -> bool:
        return self._lock.is_held

    @property
    def _waiters(self) -> Any:
        return self._lock._callers._line

    async def __aenter__(self) -> int:
        return await self._lock.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        await self._lock.__aexit__(*error)


def at_once(work: Coroutine[Any, Any, None]) -> None:
    """Carry out a coroutine that waits for nothing."""
    with pytest.raises(StopIteration):
        work.send(None)


class Asyncio:
    """The module asyncio, with another lock."""

    Lock = Lock

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)


class OfThreads(of_threads.LockTests):  # type: ignore[misc,name-defined]
    __test__ = False
    locktype = ThreadsLock


class OfTasks(of_tasks.LockTests):  # type: ignore[misc,name-defined]
    __test__ = False


@pytest.mark.parametrize(("suite", "name"), cases_of([OfThreads]))
def test_a_lock_is_one_as_cpython_s_lock_tests_have_it(
    suite: type[unittest.TestCase], name: str
) -> None:
    assert bool(problems(suite, name)) == (name in DIFFER)


@pytest.mark.parametrize(("suite", "name"), cases_of([OfTasks], OF_CONSTRUCTORS))
def test_a_task_s_lock_is_one_as_asyncio_s_test_locks_has_it(
    suite: type[unittest.TestCase], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_tasks, "asyncio", Asyncio())
    assert bool(problems(suite, name)) == (name in DIFFER)
