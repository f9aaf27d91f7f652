"""`raftline.aio`: `connect()` for asyncio; the page docs/use/python.md shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftline.common.extensions import is_there

from .clients.asyncio.asker import AioAsker
from .clients.calls.pipeline import AioPipeline as Pipeline
from .clients.calls.value_codec import TEXT
from .clients.kv.cached import AioCached as Cached
from .clients.kv.connecting import ConnectOptions, Nodes, settings_of, with_options
from .clients.kv.members import AioMembers as Members
from .clients.kv.users import AioUsers as Users
from .clients.leases.aio_lease import AioLease as Lease
from .clients.watches.aio_watch import AioWatch as Watch

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "KV", "Cached", "Lease", "Members", "Pipeline", "Users", "Watch", "connect",
]  # fmt: skip
if TYPE_CHECKING or is_there("recipes"):
    from raftline.recipes.aio_recipe_kv import AioRecipeKV as KV
    from raftline.recipes.groups.barrier import AioBarrier as Barrier
    from raftline.recipes.groups.barrier import AioDoubleBarrier as DoubleBarrier
    from raftline.recipes.groups.barrier import AioEntered as Entered
    from raftline.recipes.groups.partitioner import AioPartitioner as Partitioner
    from raftline.recipes.groups.partitioner import AioShare as Share
    from raftline.recipes.groups.party import AioParty as Party
    from raftline.recipes.locks.aio_lock import AioElection as Election
    from raftline.recipes.locks.aio_lock import AioHeld as Held
    from raftline.recipes.locks.aio_lock import AioLock as Lock
    from raftline.recipes.locks.aio_lock import AioSemaphore as Semaphore
    from raftline.recipes.queues.aio_job_queue import AioJob as Job
    from raftline.recipes.queues.aio_job_queue import AioQueue as Queue

    __all__ += [
        "Barrier", "DoubleBarrier", "Election", "Entered", "Held", "Job", "Lock", "Partitioner",
        "Party", "Queue", "Semaphore", "Share",
    ]  # fmt: skip
else:
    from .clients.kv.aio_kv import AioKV as KV


def __dir__() -> list[str]:
    return list(__all__)


@with_options
def connect(at: Nodes | None = None, **options: Unpack[ConnectOptions]) -> KV[str]:
    """Return the cluster's keys and values for asyncio, without sending a request yet.

    The options and the errors are the same as for `raftline.connect`.
    """
    settings = settings_of(at, options)
    asker = AioAsker(
        settings.addresses,
        settings.name,
        settings.timeout_s,
        settings.access,
        settings.silence_s,
    )
    return KV(asker, TEXT)
