"""`kv.barrier()` and `kv.double_barrier()`, for threads and for asyncio."""

from __future__ import annotations

from typing import Any, cast

from raftline.clients.calls.calls import CALLS
from raftline.clients.leases.aio_lease import AioLease
from raftline.clients.leases.lease import Lease
from raftline.clients.requests.times import Seconds
from raftline.common.public import public

from ..locks.aio_lock import AioClaim, AioHeld
from ..locks.lock import Claim, Held
from .barrier_steps import BarrierSteps, BaseEntered


@public("raftline.api")
class Barrier(BarrierSteps[Lease, Held], Claim):
    """A barrier at which programs wait while it is closed: `kv.barrier("upgrade").wait()`."""

    def close(self) -> None:
        """Close the barrier. It stays closed until a program opens it."""
        self._client.ask(CALLS.set(self._keys.closed, self._value))

    def open(self) -> bool:
        """Open the barrier; return whether it was closed."""
        return self._client.ask(CALLS.delete(self._keys.closed))

    def wait(self, timeout: Seconds | None = None) -> bool:
        """Wait until the barrier is open, at most `timeout` seconds; return whether it is.

        Without a timeout it waits through outages; the errors are those of `Lock.acquire`.
        """
        return self._carry_out(self._passing(timeout))


@public("raftline.api")
class Entered(BaseEntered[Lease], Held):
    """The result of `DoubleBarrier.enter`. `with` and `release` leave and wait for nobody."""

    _barrier: DoubleBarrier

    def leave(self, timeout: Seconds | None = None) -> bool:
        """Leave, and wait for the others; see `DoubleBarrier.leave`."""
        return self._barrier.leave(self, timeout)

    def __enter__(self) -> Entered:
        return self


@public("raftline.api")
class DoubleBarrier(BarrierSteps[Lease, Any], Claim):
    """A barrier that `count` programs pass together, at the beginning and at the end of a step."""

    _held_class: Any = Entered

    def enter(self, timeout: Seconds | None = None) -> Entered | None:
        """Wait until enough programs have entered; return what leaves. Return None, and be
        outside, if `timeout` seconds are over first.

        Without a timeout it waits through outages.

        Raises:
            LeaseLost: the lease of this program ended while it waited.
            Unreachable, NoLeader, OutcomeUnknown: as for `Lock.acquire`; this program is outside
                as soon as a node serves again.
        """
        return cast("Entered | None", self._carry_out(self._acquiring(self._value, timeout, -1)))

    def leave(self, held: Held | None = None, timeout: Seconds | None = None) -> bool:
        """Leave, and wait until all programs of the round have left; return whether they did so
        within `timeout` seconds. A program that dies leaves when its lease ends.

        `held` is what `enter` returned. It may be left out unless several threads have entered
        with this object.

        Raises:
            LeaseLost: it was not inside any more.
            RuntimeError: it has left already, or has not entered; or which entry is meant is
                unclear.
        """
        return self._carry_out(self._leaving(held, timeout))


@public("raftline.aio", "Barrier")
class AioBarrier(BarrierSteps[AioLease, AioHeld], AioClaim):
    """A barrier at which programs wait while it is closed; see `raftline.api.Barrier`."""

    async def close(self) -> None:
        """Close the barrier. It stays closed until a program opens it."""
        await self._client.ask(CALLS.set(self._keys.closed, self._value))

    async def open(self) -> bool:
        """Open the barrier; return whether it was closed."""
        return await self._client.ask(CALLS.delete(self._keys.closed))

    async def wait(self, timeout: Seconds | None = None) -> bool:
        """Wait until the barrier is open, at most `timeout` seconds; return whether it is."""
        return await self._carry_out(self._passing(timeout))


@public("raftline.aio", "Entered")
class AioEntered(BaseEntered[AioLease], AioHeld):
    """The result of `DoubleBarrier.enter`; see `raftline.api.Entered`."""

    _barrier: AioDoubleBarrier

    async def leave(self, timeout: Seconds | None = None) -> bool:
        """Leave, and wait for the others; see `raftline.api.DoubleBarrier.leave`."""
        return await self._barrier.leave(self, timeout)

    async def __aenter__(self) -> AioEntered:
        return self


@public("raftline.aio", "DoubleBarrier")
class AioDoubleBarrier(BarrierSteps[AioLease, Any], AioClaim):
    """A barrier that `count` programs pass together; see `raftline.api.DoubleBarrier`."""

    _held_class: Any = AioEntered

    async def enter(self, timeout: Seconds | None = None) -> AioEntered | None:
        """Wait until enough programs have entered; see `raftline.api.DoubleBarrier.enter`."""
        entered = await self._carry_out(self._acquiring(self._value, timeout, -1))
        return cast("AioEntered | None", entered)

    async def leave(self, held: AioHeld | None = None, timeout: Seconds | None = None) -> bool:
        """Leave, and wait until all programs of the round have left; see
        `raftline.api.DoubleBarrier.leave`."""
        return await self._carry_out(self._leaving(held, timeout))
