"""`kv.partitioner()` for threads and for asyncio, and the shares of its members."""

from __future__ import annotations

from typing import Any, Generic, cast

from raftline.clients.calls.value_codec import Data
from raftline.clients.leases.aio_lease import AioLease
from raftline.clients.leases.lease import Lease
from raftline.clients.requests.times import Seconds
from raftline.common.public import public

from ..locks.aio_lock import AioClaim, AioHeld
from ..locks.lock import Claim, Held
from .partition_steps import BaseShare, PartitionSteps


@public("raftline.api")
class Share(BaseShare[Lease], Held):
    """The shards of this program. `with` leaves at its end, and so does `release`.

    They are under the lease of its client for this `ttl`. If that is lost, `is_held` is false, and
    all shards are free for others.
    """

    def update(self, timeout: Seconds | None = None) -> dict[int, int]:
        """Return the shards of this program, each with its fencing token, once they have changed,
        or after `timeout` seconds. The first call returns at once.

        A shard that is missing in the result is to be given up: stop using it before the next call,
        which passes it on.

        Without a timeout it waits through outages that its lease survives.

        Raises:
            LeaseLost: this program is no longer a member, and has no shard.
            Unreachable, NoLeader, OutcomeUnknown: no node served, and there is a timeout. Call
                `update` again.
            RuntimeError: it has left.
        """
        shards: dict[int, int] = self._claim._carry_out(self._claim._updating(self, timeout))
        return shards

    def __enter__(self) -> Share:
        return self


@public("raftline.api")
class Partitioner(PartitionSteps[Lease, Share], Claim, Generic[Data]):
    """Divides shards among the programs that have joined: `with
    kv.partitioner("work", shards=16).join("host1") as share`. One program at a time has a shard."""

    _held_class: Any = Share

    def join(self, value: Data) -> Share:
        """Join with a value, which other programs read; return the share.

        Raises:
            ValueError: the members that are here have another number of shards.
            Unreachable, NoLeader, OutcomeUnknown: no node served within the time limit of the
                client. A membership that was begun ends as soon as a node serves again.
        """
        return cast("Share", self._carry_out(self._acquiring(self._codec.text(value), None, -1)))

    def owners(self) -> dict[int, Data]:
        """Return the value of the program that has each shard; a free shard is missing."""
        owners = self._carry_out(self._owners())
        return {number: self._codec.of(text) for number, text in owners.items()}


@public("raftline.aio", "Share")
class AioShare(BaseShare[AioLease], AioHeld):
    """The shards of this program; see `raftline.api.Share`. `async with` leaves at its end."""

    async def update(self, timeout: Seconds | None = None) -> dict[int, int]:
        """Return the shards of this program, each with its fencing token, once they have changed,
        or after `timeout` seconds; see `raftline.api.Share.update`."""
        steps = self._claim._updating(self, timeout)
        return cast("dict[int, int]", await self._claim._carry_out(steps))

    async def __aenter__(self) -> AioShare:
        return self


@public("raftline.aio", "Partitioner")
class AioPartitioner(PartitionSteps[AioLease, AioShare], AioClaim, Generic[Data]):
    """Divides shards among the programs that have joined; see `raftline.api.Partitioner`."""

    _held_class: Any = AioShare

    async def join(self, value: Data) -> AioShare:
        """Join with a value, and return the share; see `raftline.api.Partitioner.join`."""
        share = await self._carry_out(self._acquiring(self._codec.text(value), None, -1))
        return cast("AioShare", share)

    async def owners(self) -> dict[int, Data]:
        """Return the value of the program that has each shard; a free shard is missing."""
        owners = await self._carry_out(self._owners())
        return {number: self._codec.of(text) for number, text in owners.items()}
