"""The part of `KV` and `AioKV` that never waits: their properties, and the objects that they
make."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from raftline.common.no_copies import NoCopies

from ..calls.calls import CallFactory
from ..calls.value_codec import Codec, Data
from ..connections.node_connection import in_words
from ..requests.addresses import Addresses
from ..requests.health import ClientState
from ..requests.pool import time_limit
from ..requests.times import Seconds

TTL_S = 10
SomeLease = TypeVar("SomeLease")
Made = TypeVar("Made")


class BaseKV(NoCopies, Generic[Data, SomeLease]):
    """A client for threads or for tasks; the type parameters are the class of keys and values, and
    that of the leases that it makes."""

    _called = "raftline.KV"
    _lease_class: type[SomeLease]
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

    def _make(self, kind: type[Made], *parts: object, **options: bool) -> Made:
        make: Callable[..., Made] = kind
        return make(self._transport, self._keeper, *parts, **options)
