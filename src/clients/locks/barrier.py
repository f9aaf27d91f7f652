"""`kv.barrier()` and `kv.double_barrier()`, for threads and for asyncio."""

from __future__ import annotations

from ...common.public import public
from ..calls.calls import CALLS
from ..requests.times import Seconds
from .aio_lock import AioClaim, AioHeld
from .barrier_steps import BarrierSteps
from .lock import Claim, Held


@public("raftline.api")
class Barrier(BarrierSteps[Held], Claim):
    """A barrier at which programs wait while it is closed: `kv.barrier("upgrade").wait()`."""

    def close(self) -> None:
        """Close the barrier. It stays closed until a program opens it."""
        self._client.ask(CALLS.set(self._keys.closed, self._value))

    def open(self) -> bool:
        """Open the barrier; return whether it was closed."""
        return self._client.ask(CALLS.delete(self._keys.closed))

    def wait(self, timeout: Seconds | None = None) -> bool:
        """Wait until the barrier is open, at most `timeout` seconds; return whether it is."""
        return self._carry_out(self._waiting(self._is_open, timeout))


@public("raftline.api")
class DoubleBarrier(BarrierSteps[Held], Claim):
    """A barrier that `count` programs pass together, at the beginning and at the end of a step."""

    def enter(self, timeout: Seconds | None = None) -> Held | None:
        """Wait until enough programs have entered; return what `leave` takes. Return None, and be
        outside, if `timeout` seconds are over first.

        Raises:
            LeaseLost: the lease of this program ended while it waited.
        """
        return self._carry_out(self._acquiring(self._value, timeout, -1))

    def leave(self, held: Held, timeout: Seconds | None = None) -> bool:
        """Leave, and wait until all programs of the round have left; return whether they did so
        within `timeout` seconds. A program that dies leaves when its lease ends.

        Raises:
            LeaseLost: it was not inside any more.
            RuntimeError: it has left already.
        """
        return self._carry_out(self._leaving(held, timeout))


@public("raftline.aio", "Barrier")
class AioBarrier(BarrierSteps[AioHeld], AioClaim):
    """A barrier at which programs wait while it is closed; see `raftline.api.Barrier`."""

    async def close(self) -> None:
        """Close the barrier. It stays closed until a program opens it."""
        await self._client.ask(CALLS.set(self._keys.closed, self._value))

    async def open(self) -> bool:
        """Open the barrier; return whether it was closed."""
        return await self._client.ask(CALLS.delete(self._keys.closed))

    async def wait(self, timeout: Seconds | None = None) -> bool:
        """Wait until the barrier is open, at most `timeout` seconds; return whether it is."""
        return await self._carry_out(self._waiting(self._is_open, timeout))


@public("raftline.aio", "DoubleBarrier")
class AioDoubleBarrier(BarrierSteps[AioHeld], AioClaim):
    """A barrier that `count` programs pass together; see `raftline.api.DoubleBarrier`."""

    async def enter(self, timeout: Seconds | None = None) -> AioHeld | None:
        """Wait until enough programs have entered; see `raftline.api.DoubleBarrier.enter`."""
        return await self._carry_out(self._acquiring(self._value, timeout, -1))

    async def leave(self, held: AioHeld, timeout: Seconds | None = None) -> bool:
        """Leave, and wait until all programs of the round have left; see
        `raftline.api.DoubleBarrier.leave`."""
        return await self._carry_out(self._leaving(held, timeout))
