"""`raftline.api`: the classes of what the methods of `KV` and `Node` return, for annotations.

The classes of the asyncio client are in `raftline.aio`, where they differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftline.common.extensions import is_there

from .clients.calls.administration import Member, MemberChange, Status
from .clients.calls.calls import Stat, Version
from .clients.calls.pipeline import Pending, Pipeline
from .clients.calls.transaction import Conditions, Operations, Outcome, Transaction
from .clients.calls.user_calls import Grant, UserFacts, UsersFacts
from .clients.kv.cached import Cached
from .clients.kv.members import Members
from .clients.kv.users import Users
from .clients.leases.lease import Lease
from .clients.requests.backup_copy import Backup
from .clients.watches.watch import Watch
from .clients.watches.watch_events import Event, KVSnapshot

__all__ = [
    "Backup", "Cached", "Conditions", "Event", "Grant", "KVSnapshot", "Lease", "Member",
    "MemberChange", "Members", "Operations", "Outcome", "Pending", "Pipeline", "Stat", "Status",
    "Transaction", "UserFacts", "Users", "UsersFacts", "Version", "Watch",
]  # fmt: skip
if TYPE_CHECKING or is_there("recipes"):
    from raftline.recipes.groups.barrier import Barrier, DoubleBarrier, Entered
    from raftline.recipes.groups.partitioner import Partitioner, Share
    from raftline.recipes.groups.party import Party
    from raftline.recipes.locks.lock import Election, Held, Lock, Semaphore
    from raftline.recipes.queues.job_queue import Job, Queue
    from raftline.recipes.queues.queue_steps import DeadJob

    __all__ += [
        "Barrier", "DeadJob", "DoubleBarrier", "Election", "Entered", "Held", "Job", "Lock",
        "Partitioner", "Party", "Queue", "Semaphore", "Share",
    ]  # fmt: skip
if TYPE_CHECKING or is_there("objects"):
    from raftline.objects.embedded_server import Leader

    __all__ += ["Leader"]


def __dir__() -> list[str]:
    return list(__all__)
