"""`kv.party()` for threads and for asyncio: the programs that are here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Generic, cast

from raftline.clients.calls.value_codec import Data
from raftline.clients.leases.aio_lease import AioLease
from raftline.clients.leases.lease import Lease
from raftline.common.public import public

from ..locks.aio_lock import AioClaim, AioHeld
from ..locks.lock import Claim, Held
from .party_steps import JoinSteps, MemberChanges


@public("raftline.api")
class Party(JoinSteps[Lease, Held], Claim, Generic[Data]):
    """The programs that are here: `with kv.party("web").join("host1")`. A member that dies leaves
    once the time of its lease is over."""

    def join(self, value: Data) -> Held:
        """Join with a value, which other programs read; return the membership, which `release` or
        the end of `with` ends. A program may join several times.

        Raises:
            Unreachable, NoLeader, OutcomeUnknown: no node served within the time limit of the
                client. A membership that was begun ends as soon as a node serves again.
        """
        return cast("Held", self._carry_out(self._acquiring(self._codec.text(value), None, -1)))

    def members(self) -> list[Data]:
        """Return the values of the members, in the order in which they joined."""
        return [self._codec.of(text) for text in self._carry_out(self._members())]

    def observe(self) -> Iterator[list[Data]]:
        """Yield the members now and after each change."""
        changes = MemberChanges(self._keys)
        with self._watching(self._keys.members) as watch:
            while watch._step():
                if changes.take(watch):
                    members = self._carry_out(self._changed(changes))
                    yield [self._codec.of(text) for text in members]


@public("raftline.aio", "Party")
class AioParty(JoinSteps[AioLease, AioHeld], AioClaim, Generic[Data]):
    """The programs that are here: `async with await kv.party("web").join("host1")`; see
    `raftline.api.Party`."""

    async def join(self, value: Data) -> AioHeld:
        """Join with a value; see `raftline.api.Party.join`."""
        held = await self._carry_out(self._acquiring(self._codec.text(value), None, -1))
        return cast("AioHeld", held)

    async def members(self) -> list[Data]:
        """Return the values of the members, in the order in which they joined."""
        return [self._codec.of(text) for text in await self._carry_out(self._members())]

    async def observe(self) -> AsyncIterator[list[Data]]:
        """Yield the members now and after each change."""
        changes = MemberChanges(self._keys)
        async with self._watching(self._keys.members) as watch:
            while await watch._step():
                if changes.take(watch):
                    members = await self._carry_out(self._changed(changes))
                    yield [self._codec.of(text) for text in members]
