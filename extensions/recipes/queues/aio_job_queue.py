"""`kv.queue()` for asyncio, and the jobs that it delivers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Generic, cast, overload

from raftline.clients.calls.calls import Ask
from raftline.clients.calls.methods import awaited
from raftline.clients.calls.transaction import Operations, Outcome
from raftline.clients.calls.value_codec import Data
from raftline.clients.leases.aio_lease import AioLease
from raftline.clients.requests.times import Seconds
from raftline.clients.steps import carry_out_awaiting
from raftline.common.public import public

from ..locks.aio_lock import AioClaim, AioHeld
from .job_queue import TAKE_S
from .queue_steps import BaseJob, BaseQueue, TakeSteps


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


class _AioTake(TakeSteps[AioLease, Data], AioClaim):
    """One take of a task."""

    _held_class: Any = AioJob


@public("raftline.aio", "Queue")
class AioQueue(BaseQueue[Data]):
    """A queue of jobs that acknowledges: `async with await kv.queue("jobs").take() as job`; see
    `raftline.api.Queue`."""

    put = awaited(BaseQueue[Data]._putting, "put")

    @overload
    async def take(
        self,
        ttl: Seconds = ...,
        *,
        on_lost: Callable[[], object] | None = ...,
        done: AioJob[Data] | None = ...,
    ) -> AioJob[Data]: ...
    @overload
    async def take(
        self,
        ttl: Seconds = ...,
        *,
        timeout: Seconds | None,
        on_lost: Callable[[], object] | None = ...,
        done: AioJob[Data] | None = ...,
    ) -> AioJob[Data] | None: ...
    async def take(
        self,
        ttl: Seconds = TAKE_S,
        *,
        timeout: Seconds | None = None,
        on_lost: Callable[[], object] | None = None,
        done: AioJob[Data] | None = None,
    ) -> AioJob[Data] | None:
        """Return the next job, waiting at most `timeout` seconds for one; None if there was none.
        `done` is ended by the same request. See `raftline.api.Queue.take`."""
        jobs = await self._taking(1, ttl, timeout, on_lost, [] if done is None else [done])
        return jobs[0] if jobs else None

    async def take_many(
        self,
        count: int,
        ttl: Seconds = TAKE_S,
        *,
        timeout: Seconds | None = None,
        on_lost: Callable[[], object] | None = None,
        done: Iterable[AioJob[Data]] = (),
    ) -> list[AioJob[Data]]:
        """Return up to `count` jobs as soon as there is one; none if there was none for `timeout`
        seconds. See `raftline.api.Queue.take_many`."""
        return await self._taking(count, ttl, timeout, on_lost, done)

    async def _taking(
        self,
        count: int,
        ttl: Seconds,
        timeout: Seconds | None,
        on_lost: Callable[[], object] | None,
        done: Iterable[AioJob[Data]],
    ) -> list[AioJob[Data]]:
        take = self._take(_AioTake, ttl, on_lost)
        jobs: list[AioJob[Data]] = await take._carry_out(take._taking(count, timeout, done))
        return jobs

    done = awaited(BaseQueue[Data]._ending, "done")
    release = awaited(BaseQueue[Data]._giving_back, "release")
    waiting = awaited(BaseQueue[Data]._waiting, "waiting")
    dead = awaited(BaseQueue[Data]._dead, "dead")
    retry = awaited(BaseQueue[Data]._retrying, "retry")
    discard = awaited(BaseQueue[Data]._discarding, "discard")

    async def _carry_out(self, steps: Any) -> Any:
        def do(step: Ask) -> Awaitable[object]:
            return cast("Awaitable[object]", self._client.ask(step.call))

        return await carry_out_awaiting(steps, do)
