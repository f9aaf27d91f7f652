"""The part of `RecipeKV` and `AioRecipeKV` that never waits: the locks, elections and semaphores
that they make."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from raftline.clients.calls.value_codec import Data
from raftline.clients.kv.base_kv import TTL_S, BaseKV, Made, SomeLease
from raftline.clients.requests.times import Seconds

from .locks.lock_keys import ELECTIONS, LOCKS, LockKeys, SharedKeys, Slots

SomeLock = TypeVar("SomeLock")
SomeSemaphore = TypeVar("SomeSemaphore")
SomeElection = TypeVar("SomeElection")


class BaseRecipeKV(
    BaseKV[Data, SomeLease], Generic[Data, SomeLease, SomeLock, SomeSemaphore, SomeElection]
):
    """A client with locks; the further type parameters are the classes of what it makes."""

    _lock_class: type[SomeLock]
    _semaphore_class: type[SomeSemaphore]
    _election_class: Any  # of SomeElection

    def _watch_text(self, prefix: str) -> Any:
        raise NotImplementedError

    def lock(
        self,
        name: str,
        *,
        shared: bool = False,
        ttl: Seconds = TTL_S,
        on_lost: Callable[[], object] | None = None,
        own_lease: bool = False,
        wait_release: bool = True,
    ) -> SomeLock:
        """Return a lock: `with kv.lock("nightly") as held`; in asyncio `async with`. `on_lost` is
        called if it is lost.

        With `shared=True`, any number of programs hold it at a time, and no program holds it
        exclusively.

        All that a client holds with one `ttl` is under one lease, and is lost together if that is
        lost. With `own_lease=True`, each acquisition has a lease for itself. With
        `wait_release=False`, a release sends its request and does not await the answer: it takes
        effect before later requests of this thread or task, and raises no LeaseLost.
        """
        keys = SharedKeys(name) if shared else LockKeys(LOCKS, name)
        return self._claim(
            self._lock_class, keys, ttl, on_lost, own_lease=own_lease, wait_release=wait_release
        )

    def semaphore(
        self,
        name: str,
        limit: int,
        *,
        ttl: Seconds = TTL_S,
        on_lost: Callable[[], object] | None = None,
        own_lease: bool = False,
        wait_release: bool = True,
    ) -> SomeSemaphore:
        """Return a semaphore that up to `limit` programs hold at a time, from 1 to 1000."""
        keys = Slots(name, limit)
        return self._claim(
            self._semaphore_class,
            keys,
            ttl,
            on_lost,
            own_lease=own_lease,
            wait_release=wait_release,
        )

    def election(
        self,
        name: str,
        *,
        ttl: Seconds = TTL_S,
        on_lost: Callable[[], object] | None = None,
        own_lease: bool = False,
        wait_release: bool = True,
    ) -> SomeElection:
        """Return an election: `kv.election("service").campaign("host1")` waits until this program
        leads."""
        election: SomeElection = self._claim(
            self._election_class,
            LockKeys(ELECTIONS, name),
            ttl,
            on_lost,
            own_lease=own_lease,
            wait_release=wait_release,
        )
        return election

    def _claim(
        self,
        kind: type[Made],
        keys: LockKeys,
        ttl: Seconds,
        on_lost: Callable[[], object] | None,
        **options: bool,
    ) -> Made:
        holder = f"{self._name} on {socket.gethostname()}"
        parts = self._watch_text, keys, ttl, on_lost, holder, self._codec
        return self._make(kind, *parts, **options)
