"""`kv.lock()`, `kv.semaphore()` and `kv.election()` for asyncio, and what they return."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar, overload

from raftline.clients.asyncio.line_protocol import ends_within
from raftline.clients.calls.calls import Ask
from raftline.clients.calls.methods import awaited
from raftline.clients.calls.value_codec import Data
from raftline.clients.leases.aio_lease import AioLease, AioTransport
from raftline.clients.leases.gates import AwaitTurn
from raftline.clients.requests.times import Seconds
from raftline.clients.steps import carry_out_awaiting
from raftline.clients.watches.aio_watch import AioWatch
from raftline.common.public import public

from .claim_steps import Claiming, ClaimStep, Look, Pause
from .claims import BaseClaim, LeaderChanges
from .held import BaseHeld

Kind = TypeVar("Kind")


async def admitted_in_time(step: AwaitTurn) -> bool:
    """Wait for a turn at a gate; return whether it came in time."""
    admitted = asyncio.Event()
    step.turn.when_admitted(admitted.set)
    left_s = None if step.until_s is None else max(0.0, step.until_s - time.monotonic())
    await ends_within(admitted.wait(), left_s)
    return step.turn.is_admitted


@public("raftline.aio", "Held")
class AioHeld(BaseHeld[AioLease]):
    """The holding of a task; see `raftline.api.Held`. It belongs to no task: any task of the
    event loop that has this object may use it. `async with` releases it at the end."""

    async def check(self) -> int:
        """Return the token, once the cluster has confirmed that it is held. Raises LeaseLost if it
        is not held; see `raftline.api.Held.check`."""
        return await self._lease._carry_out(self._checking())

    async def release(self) -> None:
        """Release it. Raises LeaseLost if it was lost, RuntimeError if it is released already."""
        await self._lease._carry_out(self._releasing())

    async def wait_lost(self) -> bool:
        """Wait until it is over; return whether it was lost rather than released."""
        return await self._lease.wait_lost()

    async def __aenter__(self) -> AioHeld:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Release it, unless the block did so. An error in the block takes precedence over an error
        here."""
        await self._lease._carry_out(self._leaving(error))


class AioClaim(BaseClaim[AioLease, AioHeld]):
    """The part that a lock and an election share: the waits of their tasks."""

    _lease_class = AioLease
    _held_class = AioHeld
    _client: AioTransport
    _watching: Callable[[str], AioWatch[str]]

    async def _carry_out(self, steps: Claiming[Kind]) -> Kind:
        return await carry_out_awaiting(steps, self._do)

    async def _do(self, step: ClaimStep) -> object:
        if isinstance(step, Ask):
            return await self._client.ask(step.call, step.limit_s)
        if isinstance(step, Look):
            return await step.watch._step(step.until_s)
        if isinstance(step, AwaitTurn):
            return await admitted_in_time(step)
        if isinstance(step, Pause):
            await asyncio.sleep(max(0.0, step.until_s - self._now()))
            return None
        return await asyncio.shield(asyncio.ensure_future(self._carry_out(step.steps)))


@public("raftline.aio", "Lock")
class AioLock(AioClaim):
    """A lock for all programs of the cluster: `async with kv.lock("nightly") as held`; see
    `raftline.api.Lock`. Tasks may share one object."""

    @overload
    async def acquire(self) -> AioHeld: ...
    @overload
    async def acquire(
        self, blocking: bool | Seconds | None = ..., timeout: Seconds | None = ...
    ) -> AioHeld | None: ...
    async def acquire(
        self, blocking: bool | Seconds | None = True, timeout: Seconds | None = -1
    ) -> AioHeld | None:
        """Return what is held, waiting at most `timeout` seconds. Return None if the lock was not
        acquired. See `raftline.api.Lock.acquire`."""
        return await self._carry_out(self._acquiring(self._value, blocking, timeout))

    holder = awaited(BaseClaim[Any, Any]._holder, "holder")

    async def __aenter__(self) -> AioHeld:
        held = await self._carry_out(self._entering())
        return self._with_blocks.begin(asyncio.current_task(), held)

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Release what this `async with` holds. An error in the block takes precedence over an
        error here."""
        held = self._with_blocks.end(asyncio.current_task())
        await held.__aexit__(kind, error, traceback)


@public("raftline.aio", "Semaphore")
class AioSemaphore(AioLock):
    """A lock that up to `limit` programs hold at a time; see `raftline.api.Semaphore`."""

    holders = awaited(BaseClaim[Any, Any]._holders, "holders")


@public("raftline.aio", "Election")
class AioElection(AioClaim, Generic[Data]):
    """An election of one leader at a time among programs; see `raftline.api.Election`."""

    @overload
    async def campaign(self, value: Data) -> AioHeld: ...
    @overload
    async def campaign(self, value: Data, timeout: Seconds | None = ...) -> AioHeld | None: ...
    async def campaign(self, value: Data, timeout: Seconds | None = None) -> AioHeld | None:
        """Return the leadership once this program leads; `leader` then returns `value`. Return None
        if it did not become the leader within `timeout` seconds (0: one try; None, -1: forever)."""
        return await self._carry_out(self._acquiring(self._codec.text(value), timeout, -1))

    async def leader(self) -> Data | None:
        """Return the value that the leader campaigned with, or None without a leader."""
        return self._codec.of_any(await self._carry_out(self._holder_value()))

    async def observe(self) -> AsyncIterator[Data | None]:
        """Yield the leader's value now and after each change; None while there is no leader."""
        leaders = LeaderChanges(self._keys)
        async with self._watching(self._keys.held) as watch:
            while await watch._step():
                for value in leaders.take(watch):
                    yield self._codec.of_any(value)
