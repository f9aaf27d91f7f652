"""`raftline.aio.KV`: the client for tasks, with its locks, elections, queues and other recipes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from raftline.clients.calls.value_codec import TEXT, Data
from raftline.clients.kv.aio_kv import AioKV
from raftline.clients.kv.base_kv import TTL_S
from raftline.clients.leases.aio_lease import AioLease
from raftline.clients.requests.times import Seconds
from raftline.clients.watches.aio_watch import AioWatch
from raftline.clients.watches.watch_events import WatchCursor
from raftline.common.public import public

from .base_recipe_kv import BaseRecipeKV
from .groups.barrier import AioBarrier, AioDoubleBarrier
from .groups.barrier_steps import BarrierKeys
from .groups.partition_steps import PartitionKeys
from .groups.partitioner import AioPartitioner
from .groups.party import AioParty
from .groups.party_steps import PartyKeys
from .locks.aio_lock import AioElection, AioLock, AioSemaphore
from .queues.aio_job_queue import AioQueue
from .queues.queue_steps import DELIVERIES


@public("raftline.aio", "KV")
class AioRecipeKV(
    BaseRecipeKV[Data, AioLease, AioLock, AioSemaphore, "AioElection[Data]"], AioKV[Data]
):
    __doc__ = AioKV.__doc__

    _lock_class, _semaphore_class, _election_class = AioLock, AioSemaphore, AioElection

    if TYPE_CHECKING:  # they return this class

        async def __aenter__(self) -> AioRecipeKV[Data]: ...
        def within(self, timeout: Seconds) -> AioRecipeKV[Data]: ...
        async def connect_again(self) -> AioRecipeKV[Data]: ...
        @property
        def binary(self) -> AioRecipeKV[bytes]: ...

    def queue(self, name: str, *, max_deliveries: int | None = DELIVERIES) -> AioQueue[Data]:
        """Return a queue of jobs; see `raftline.KV.queue`."""
        return AioQueue(name, self._codec, max_deliveries, self._transport, self._claim)

    def party(
        self, name: str, *, ttl: Seconds = TTL_S, on_lost: Callable[[], object] | None = None
    ) -> AioParty[Data]:
        """Return a party, the programs that are here; see `raftline.KV.party`."""
        return self._claim(AioParty, PartyKeys(name), ttl, on_lost)

    def partitioner(
        self,
        name: str,
        *,
        shards: int,
        ttl: Seconds = TTL_S,
        on_lost: Callable[[], object] | None = None,
    ) -> AioPartitioner[Data]:
        """Return a partitioner, which divides shards among programs; see
        `raftline.KV.partitioner`."""
        return self._claim(AioPartitioner, PartitionKeys(name, shards), ttl, on_lost)

    def barrier(self, name: str) -> AioBarrier:
        """Return a barrier, at which programs wait while it is closed."""
        return self._claim(AioBarrier, BarrierKeys(name), TTL_S, None)

    def double_barrier(
        self,
        name: str,
        count: int,
        *,
        ttl: Seconds = TTL_S,
        on_lost: Callable[[], object] | None = None,
    ) -> AioDoubleBarrier:
        """Return a barrier that `count` programs enter together and leave together."""
        return self._claim(AioDoubleBarrier, BarrierKeys(name, count), ttl, on_lost)

    def _watch_text(self, prefix: str) -> AioWatch[str]:
        return self._watching(WatchCursor(TEXT, prefix, None))
