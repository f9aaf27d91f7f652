"""`kv.queue()` for asyncio, and the jobs that it delivers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar, cast, overload

from ...common.public import public
from ..calls.calls import Ask
from ..calls.transaction import Operations, Outcome
from ..calls.value_codec import Data
from ..requests.steps import carry_out_awaiting
from ..requests.times import Seconds
from .aio_lease import AioLease
from .aio_lock import AioClaim, AioHeld, admitted_in_time
from .claim_steps import AwaitTurn, Claiming, ClaimStep
from .job_queue import TAKE_S
from .queue_steps import BaseJob, BaseQueue, DeadJob, TakeSteps

Result = TypeVar("Result")


@public("raftline.aio", "Job")
class AioJob(BaseJob[AioLease, Data], AioHeld, Generic[Data]):
    """A job that a task has taken; see `raftline.api.Job`. `async with` gives it back unless it is
    done."""

    async def done(self, txn: Operations[Any, Any] | None = None) -> Outcome[Any]:
        """Remove the job, and carry out the operations of a transaction in the same step; see
        `raftline.api.Job.done`."""
        return await self._lease._carry_out(self._finishing(txn))

    async def __aenter__(self) -> AioJob[Data]:
        return self


class _AioTake(TakeSteps[Data, "AioJob[Data]"], AioClaim):
    """One take of a task."""

    _held_class: Any = AioJob


@public("raftline.aio", "Queue")
class AioQueue(BaseQueue[Data]):
    """A queue of jobs that acknowledges: `async with await kv.queue("jobs").take() as job`; see
    `raftline.api.Queue`."""

    async def put(self, value: Data) -> int:
        """Add a job at the end of the queue; return its number."""
        return await self._carry_out(self._putting(value))

    @overload
    async def take(
        self, ttl: Seconds = ..., *, on_lost: Callable[[], object] | None = ...
    ) -> AioJob[Data]: ...
    @overload
    async def take(
        self,
        ttl: Seconds = ...,
        *,
        timeout: Seconds | None,
        on_lost: Callable[[], object] | None = ...,
    ) -> AioJob[Data] | None: ...
    async def take(
        self,
        ttl: Seconds = TAKE_S,
        *,
        timeout: Seconds | None = None,
        on_lost: Callable[[], object] | None = None,
    ) -> AioJob[Data] | None:
        """Return the next job, waiting at most `timeout` seconds for one; None if there was none.
        See `raftline.api.Queue.take`."""
        take: Any = self._claim(_AioTake, self._state.keys, ttl, on_lost)
        take._state = self._state
        job = await take._carry_out(take._acquiring(take._value, timeout, -1))
        return cast("AioJob[Data] | None", job)

    async def waiting(self) -> int:
        """Return how many jobs wait for their first delivery."""
        return await self._carry_out(self._state.waiting())

    async def dead(self) -> list[DeadJob]:
        """Return the jobs that were delivered `max_deliveries` times and never done."""
        return await self._carry_out(self._state.dead())

    async def retry(self, number: int) -> bool:
        """Deliver a dead job again; see `raftline.api.Queue.retry`."""
        return await self._carry_out(self._state.retry(number))

    async def discard(self, number: int) -> bool:
        """Delete a dead job; return whether it was dead."""
        return await self._carry_out(self._state.discard(number))

    async def _carry_out(self, steps: Claiming[Result]) -> Result:
        def do(step: ClaimStep) -> Awaitable[object]:
            if isinstance(step, AwaitTurn):
                return admitted_in_time(step)
            assert isinstance(step, Ask)
            return cast("Awaitable[object]", self._client.ask(step.call))

        return await carry_out_awaiting(steps, do)
