"""`raftline.KV`: the client for threads, with its locks, elections, queues and other recipes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from raftline.clients.calls.value_codec import TEXT, Data
from raftline.clients.kv.base_kv import TTL_S
from raftline.clients.kv.kv import KV
from raftline.clients.leases.lease import Lease
from raftline.clients.requests.times import Seconds
from raftline.clients.watches.watch import Watch
from raftline.clients.watches.watch_events import WatchCursor
from raftline.common.public import public

from .base_recipe_kv import BaseRecipeKV
from .groups.barrier import Barrier, DoubleBarrier
from .groups.barrier_steps import BarrierKeys
from .groups.partition_steps import PartitionKeys
from .groups.partitioner import Partitioner
from .groups.party import Party
from .groups.party_steps import PartyKeys
from .locks.lock import Election, Lock, Semaphore
from .queues.job_queue import Queue
from .queues.queue_steps import DELIVERIES


@public("raftline", "KV")
class RecipeKV(BaseRecipeKV[Data, Lease, Lock, Semaphore, "Election[Data]"], KV[Data]):
    __doc__ = KV.__doc__

    _lock_class, _semaphore_class, _election_class = Lock, Semaphore, Election

    if TYPE_CHECKING:  # they return this class

        def __enter__(self) -> RecipeKV[Data]: ...
        def within(self, timeout: Seconds) -> RecipeKV[Data]: ...
        def connect_again(self) -> RecipeKV[Data]: ...
        @property
        def binary(self) -> RecipeKV[bytes]: ...

    def queue(self, name: str, *, max_deliveries: int | None = DELIVERIES) -> Queue[Data]:
        """Return a queue of jobs: `kv.queue("jobs").put("5")`, and `with kv.queue("jobs").take() as
        job` in a worker. A job that was delivered `max_deliveries` times and never done is dead:
        `queue.dead()` lists it. None sets no limit."""
        return Queue(name, self._codec, max_deliveries, self._transport, self._claim)

    def party(
        self, name: str, *, ttl: Seconds = TTL_S, on_lost: Callable[[], object] | None = None
    ) -> Party[Data]:
        """Return a party, the programs that are here: `with kv.party("web").join("host1")`, and
        `kv.party("web").members()`."""
        return self._claim(Party, PartyKeys(name), ttl, on_lost)

    def partitioner(
        self,
        name: str,
        *,
        shards: int,
        ttl: Seconds = TTL_S,
        on_lost: Callable[[], object] | None = None,
    ) -> Partitioner[Data]:
        """Return a partitioner, which divides shards among programs: `with
        kv.partitioner("work", shards=16).join("host1") as share`, then `share.update()`."""
        return self._claim(Partitioner, PartitionKeys(name, shards), ttl, on_lost)

    def barrier(self, name: str) -> Barrier:
        """Return a barrier, at which programs wait while it is closed."""
        return self._claim(Barrier, BarrierKeys(name), TTL_S, None)

    def double_barrier(
        self,
        name: str,
        count: int,
        *,
        ttl: Seconds = TTL_S,
        on_lost: Callable[[], object] | None = None,
    ) -> DoubleBarrier:
        """Return a barrier that `count` programs enter together and leave together."""
        return self._claim(DoubleBarrier, BarrierKeys(name, count), ttl, on_lost)

    def _watch_text(self, prefix: str) -> Watch[str]:
        return self._shared.watch(WatchCursor(TEXT, prefix, None), self._timeout)
