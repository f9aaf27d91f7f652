"""`ReplicatedLock`: the lock of `kv.lock()`, with the interface of `threading.Lock`.

Both are the same lock, `lock/NAME/held`: they exclude each other, wait in one queue, and have
tokens in one order. Tasks use it by `awaitable`, which is the lock of `raftline.aio`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

from ..clients.calls.kv_errors import LeaseLost
from ..clients.calls.value_codec import TEXT
from ..clients.kv.aio_kv import AioKV, beside
from ..clients.kv.kv import KV
from ..clients.locks.aio_lock import AioLock
from ..clients.locks.claims import NOT_HELD
from ..clients.locks.contest import LOCKS, LockKeys
from ..clients.requests.pool import Clients
from ..wire.protocol import escape
from .base import Asker, LockLost, ReplicatedObject, short_tracebacks

LEASE_S = 10.0


@short_tracebacks
class ReplicatedLock(ReplicatedObject):
    """A lock like threading.Lock, for all programs of the cluster: `acquire`, `release`, `with`.

    It is not reentrant. While it is held, a thread renews its lease. Send `token` to the resource
    that the lock guards. Call `check()` before a step that must not happen without the lock.
    """

    kind = "lock"

    def __init__(
        self, name: str, node: Asker, *, lease: float = LEASE_S, timeout: float | None = None
    ) -> None:
        """Name the lock. After its holder has died, it is free in `lease` seconds, rounded up to
        whole seconds, plus a tenth."""
        super().__init__(name, node, timeout=timeout)
        if not 0.1 <= lease <= 86_400:
            raise ValueError("a lease lasts from 0.1 seconds to a day")
        self._key = escape(LockKeys(LOCKS, name).held, key=True)
        self._ttl = max(1, math.ceil(lease))
        self._store = _store_of(node)
        if self._timeout is not None:
            self._store = self._store.within(self._timeout)
        self._lock = self._store.lock(name, ttl=self._ttl)
        self._for_tasks = AwaitableLock(self._connect, name, self._ttl)

    def _connect(self) -> AioKV[str]:
        return beside(self._store)

    def within(self, timeout: float) -> ReplicatedLock:
        """Return this lock with another time limit in seconds."""
        other = super().within(timeout)
        other._store = self._store.within(timeout)
        other._lock = self._lock._asked_by(other._store._transport)
        return other

    @property
    def awaitable(self) -> AwaitableLock:  # type: ignore[override]
        """This lock for the tasks of one event loop. It excludes the threads of this program."""
        return self._for_tasks

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Acquire the lock, waiting at most `timeout` seconds; return whether it was acquired.

        Raises:
            OutcomeUnknown: it may or may not have been acquired; if it was, it is free again after
                a lease.
        """
        return self._lock.acquire(blocking, timeout) is not None

    def release(self) -> None:
        """Release the lock.

        Raises:
            LockLost: it was lost before. RuntimeError: it is not held here.
        """
        with _losses():
            self._lock.release()

    @property
    def token(self) -> int:
        """The fencing token, which is higher than the token of any earlier holder.

        Raises:
            RuntimeError: the lock is not held here.
        """
        return self._lock.token

    @property
    def is_held(self) -> bool:
        """Whether this program holds it, by its own clock."""
        return self._lock.is_held

    def check(self) -> int:
        """Return the token, once the cluster has confirmed that the lock is held here.

        Raises:
            LockLost: it was lost.
            RuntimeError: it is not held here.
        """
        with _losses():
            return self._lock.check()

    def locked(self) -> bool:
        """Return whether any program holds it."""
        return self.holder() is not None

    def holder(self) -> str | None:
        """Return the name that the holder gave; None if nobody holds it."""
        return self._lock.holder()

    def __enter__(self) -> ReplicatedLock:
        with _losses():
            self._lock.__enter__()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        with _losses():
            self._lock.__exit__(kind, error, traceback)


@short_tracebacks
class AwaitableLock:
    """A `ReplicatedLock` for tasks: `async with lock.awaitable`. It has a connection while a task
    holds the lock or waits for it."""

    def __init__(self, connect: Callable[[], AioKV[str]], name: str, ttl: int) -> None:
        self._connect = connect
        self._name = name
        self._ttl = ttl
        self._kv: AioKV[str] | None = None
        self._lock: AioLock | None = None
        self._users = 0

    def _begin(self) -> AioLock:
        if self._lock is None:
            self._kv = self._connect()
            self._lock = self._kv.lock(self._name, ttl=self._ttl)
        self._users += 1
        return self._lock

    async def _end(self) -> None:
        self._users -= 1
        kv = self._kv
        if not self._users and kv is not None:
            self._kv = self._lock = None
            await asyncio.shield(asyncio.ensure_future(kv.close()))

    def _mine(self) -> AioLock:
        if self._lock is None:
            raise RuntimeError(NOT_HELD)
        return self._lock

    async def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Acquire the lock; see `ReplicatedLock.acquire`. A cancelled task does not hold it."""
        lock, token = self._begin(), None
        try:
            token = await lock.acquire(blocking, timeout)
        finally:
            if token is None:
                await self._end()
        return token is not None

    async def release(self) -> None:
        """Release the lock; see `ReplicatedLock.release`."""
        lock = self._mine()
        lock._mine()  # raises if it is not held
        try:
            with _losses():
                await lock.release()
        finally:
            await self._end()

    async def check(self) -> int:
        """Return the confirmed token; see `ReplicatedLock.check`."""
        with _losses():
            return await self._mine().check()

    async def locked(self) -> bool:
        """Return whether any program holds it."""
        return await self.holder() is not None

    async def holder(self) -> str | None:
        """Return the name that the holder gave; None if nobody holds it."""
        lock = self._begin()
        try:
            return await lock.holder()
        finally:
            await self._end()

    @property
    def token(self) -> int:
        """The fencing token. Raises RuntimeError if no task here holds the lock."""
        return self._mine().token

    @property
    def is_held(self) -> bool:
        """Whether a task of this event loop holds it, by this program's clock."""
        return self._lock is not None and self._lock.is_held

    async def __aenter__(self) -> AwaitableLock:
        await self.acquire()
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._lock is None or self._lock._found() is None:  # released inside
            return
        try:
            with _losses():
                await self._lock.__aexit__(kind, error, traceback)
        finally:
            await self._end()


@contextlib.contextmanager
def _losses() -> Iterator[None]:
    """Convert LeaseLost into LockLost."""
    try:
        yield
    except LeaseLost as loss:
        raise LockLost(str(loss)) from None


def _store_of(node: Any) -> KV[Any]:
    """Return the typed client of a node or of `Clients`, or the typed client itself."""
    store: KV[Any] = KV(node, TEXT) if isinstance(node, Clients) else getattr(node, "kv", node)
    return store
