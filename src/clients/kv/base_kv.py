"""The part of `KV` and `AioKV` that never waits: their properties, and the objects that they
make."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ...common.no_copies import NoCopies
from ..calls.calls import CallFactory
from ..calls.value_codec import Codec, Data
from ..locks.lock_keys import ELECTIONS, LOCKS, LockKeys, SharedKeys, Slots
from ..requests.addresses import Addresses
from ..requests.health import ClientState
from ..requests.node_connection import in_words
from ..requests.pool import time_limit
from ..requests.times import Seconds

TTL_S = 10
SomeLease = TypeVar("SomeLease")
SomeLock = TypeVar("SomeLock")
SomeSemaphore = TypeVar("SomeSemaphore")
SomeElection = TypeVar("SomeElection")
Made = TypeVar("Made")


class BaseKV(NoCopies, Generic[Data, SomeLease, SomeLock, SomeSemaphore, SomeElection]):
    """A client for threads or for tasks; the type parameters are the classes of the objects that it
    makes."""

    _called = "raftline.KV"
    _lease_class: type[SomeLease]
    _lock_class: type[SomeLock]
    _semaphore_class: type[SomeSemaphore]
    _election_class: Any  # of SomeElection
    _transport: Any
    _shared: Any  # with all clients of the same connections

    def __init__(
        self, codec: Codec[Data], timeout: Seconds, name: str, addresses: Addresses
    ) -> None:
        self._timeout = time_limit(timeout)
        self._codec = codec
        self._calls = CallFactory(codec)
        self._name = name
        self._addresses = addresses

    @property
    def _is_closed(self) -> bool:
        raise NotImplementedError

    @property
    def _keeper(self) -> Any:
        """The keeper that renews this client's leases."""
        raise NotImplementedError

    def _watch_text(self, prefix: str) -> Any:
        raise NotImplementedError

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else f"{self._timeout:g} s"
        return f"<{self._called} at {in_words(self._addresses.named)}, {state}>"

    @property
    def name(self) -> str:
        """The name that the nodes see, before the `@` of a line."""
        return self._name

    @property
    def timeout(self) -> float:
        """The time limit of a call, in seconds."""
        return self._timeout

    @property
    def state(self) -> ClientState:
        """Whether the cluster serves this client, judged by its latest requests and watches:
        "connected"; "suspended" while no node serves it, and before the first answer; "lost" once
        that has lasted for ten seconds; "closed" after `close`. Reading it sends no request."""
        return self._addresses.health.state(time.monotonic())

    def add_listener(self, listener: Callable[[ClientState], object]) -> None:
        """Call a function at each change of `state`, one change after the other. A separate thread
        calls it; in asyncio, the event loop does. Raises TypeError if it is not a plain
        function."""
        self._shared.listeners.add(listener)

    def remove_listener(self, listener: Callable[[ClientState], object]) -> None:
        """Stop calling a listener. Raises ValueError if it was not added."""
        self._shared.listeners.remove(listener)

    def lease(
        self,
        ttl: Seconds = TTL_S,
        *,
        on_lost: Callable[[], object] | None = None,
        keep: bool = True,
    ) -> SomeLease:
        """Return a lease: `with kv.lease(10) as lease: kv.set("a", "1", lease=lease)`; in asyncio
        `async with`.

        A thread or a task renews it. With `keep=False`, the program renews it with `lease.check()`:
        then the lease ends if the program makes no progress.
        """
        return self._make(self._lease_class, ttl, on_lost, keep)

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

    def _make(self, kind: type[Made], *parts: object, **options: bool) -> Made:
        make: Callable[..., Made] = kind
        return make(self._transport, self._keeper, *parts, **options)
