"""`kv.lease()` for asyncio: a lease that a task renews."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Protocol, TypeVar

from raftline.clients.connection import ClientError
from raftline.clients.steps import carry_out_awaiting
from raftline.kv.calls import CALLS, Ask, Call, Steps
from raftline.kv.lease_timer import (
    BaseLease,
    Clock,
    LeaseTimer,
    clock,
    confirming,
    granting,
    releasing,
    renewing,
)

Result = TypeVar("Result")


class AioTransport(Protocol):
    """A client that carries out calls."""

    async def ask(self, call: Call[Result], timeout: float | None = None) -> Result: ...


class AioLease(BaseLease):
    """A lease: keys that are set under it go when it ends. `async with` grants, renews and
    releases it. A task renews it while it is held.

    `is_held` is as that of `raftline.Lease`. `on_lost` is called by the event loop.
    """

    _with = "async with"

    def __init__(
        self,
        client: AioTransport,
        tasks: set[asyncio.Task[None]],
        ttl: float,
        on_lost: Callable[[], object] | None = None,
        keep: bool = True,
        on_end: Callable[[LeaseTimer], object] | None = None,
        now: Clock = clock,
    ) -> None:
        """Without `keep` the program renews it, by `check`, and no task does. `on_end` is called
        at any end."""
        super().__init__(ttl, on_lost, on_end, now)
        self._client = client
        self._tasks = tasks  # the client cancels them when it is closed
        self._keeps = keep
        self._task: asyncio.Task[None] | None = None
        self._over = asyncio.Event()

    async def __aenter__(self) -> AioLease:
        return await self.grant()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._is_to_release(error):
            return
        if error is None:
            await self.release()
        else:
            with contextlib.suppress(ClientError):  # the error inside explains more
                await self.release()

    async def wait_lost(self) -> bool:
        """Wait until it is over; return whether it was lost, and not released.

        Raises:
            RuntimeError: it was not granted.
        """
        over, timer = self._over, self._granted()
        await over.wait()
        return timer.was_lost

    async def grant(self) -> AioLease:
        """Get it granted, and renew it from now on. `async with` calls this.

        Raises:
            LeaseLost: the answer came when its time was over. It was never held.
        """
        self._may_be_granted()
        over = self._over = asyncio.Event()
        timer = self._timer = await self._carry_out(
            granting(self._seconds, partial(self._ended, over), self._now)
        )
        if self._keeps:
            self._task = asyncio.ensure_future(self._keep(timer))
            self._tasks.add(self._task)
            self._task.add_done_callback(self._tasks.discard)
            self._task.add_done_callback(lambda _: timer.give_up())  # if it was cancelled
        return self

    async def check(self, timeout: float | None = None) -> AioLease:
        """Renew it for its whole time, which confirms that it is held. `timeout` is by default
        that of the client.

        Raises:
            LeaseLost: it is not held.
        """
        timer = self._held()
        if not await self._carry_out(confirming(timer, self._now, timeout)):
            raise timer.loss()
        return self

    async def release(self) -> int:
        """End it; its keys are deleted. Return how many.

        Raises:
            LeaseLost: it had ended before.
        """
        return await self._carry_out(releasing(self._held(), self._now))

    async def _carry_out(self, steps: Steps[Result]) -> Result:
        def do(step: Ask) -> Awaitable[object]:
            return self._client.ask(step.call, step.limit_s)

        return await carry_out_awaiting(steps, do)

    async def _keep(self, timer: LeaseTimer) -> None:
        """Renew it until it is over."""
        while not timer.is_over:
            await asyncio.sleep(max(0.0, timer.due_s - self._now()))
            try:
                await self._carry_out(renewing(timer, self._now))
            except Exception:
                timer.report(self._now())

    # --- of locks -------------------------------------------------------------------------------

    async def drop(self) -> None:
        """Release it, even if it was lost. A failure is not reported: the lease expires anyway."""
        timer = self._timer
        if timer is not None:
            timer.give_up()
            with contextlib.suppress(ClientError):
                await self._client.ask(CALLS.release(timer.lease))

    def _ended(self, over: asyncio.Event, timer: LeaseTimer) -> None:
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        if self._on_end is not None:
            self._on_end(timer)
        over.set()
        if timer.was_lost and self._on_lost is not None:
            asyncio.get_running_loop().call_soon(self._on_lost)
