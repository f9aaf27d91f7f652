"""`kv.lease()` for asyncio: a lease that an asyncio task renews."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from raftline.common.public import public

from ..asyncio.line_protocol import ends_within
from ..calls.calls import Ask, Call, Steps
from ..calls.methods import awaited
from ..requests.times import Seconds
from ..steps import carry_out_awaiting
from .base_lease import BaseLease, SendOff
from .kept_leases import KeptLeases
from .lease_timer import Clock, LeaseTimer, clock, closing
from .renewals import Renewals, UntilDue, keeping

Result = TypeVar("Result")


class AioTransport(Protocol):
    """A client that carries out calls."""

    timeout: float

    async def ask(self, call: Call[Result], timeout: float | None = None) -> Result: ...


class AioSender(AioTransport, Protocol):
    """A client that also sends requests whose answer is not awaited."""

    def send_off(self, command: str, settled: Callable[[str | None], object]) -> bool: ...


class AioKeeper:
    """Renews the leases of one client, with one task for each lease."""

    def __init__(self, client: AioTransport, now: Clock = clock) -> None:
        self._client = client
        self._now = now
        self._tasks: dict[LeaseTimer, tuple[Renewals, asyncio.Task[None]]] = {}
        self._is_closed = False
        self._hurried: dict[LeaseTimer, asyncio.Event] = {}  # of tasks that wait
        self.kept = KeptLeases()
        self.leaving: set[str] = set()  # the requests that claims send to leave

    def __len__(self) -> int:
        return len(self._tasks)

    def keep(self, timer: LeaseTimer) -> None:
        """Renew a lease from now on, until it is over. If its task is cancelled, the lease is given
        up."""
        if self._is_closed:
            timer.give_up()
            return
        renewals = Renewals()
        renewals.add(timer)
        steps = keeping(renewals, self._now, contextlib.nullcontext())
        do = partial(self._do, timer, renewals)
        task = asyncio.ensure_future(carry_out_awaiting(steps, do))
        self._tasks[timer] = renewals, task
        task.add_done_callback(lambda _: timer.give_up())

    def drop(self, timer: LeaseTimer) -> None:
        """Stop renewing a lease, because it is over."""
        if timer in self._tasks:
            renewals, task = self._tasks.pop(timer)
            renewals.drop(timer)
            if task is not _current_task():
                task.cancel()

    def hurry(self, timer: LeaseTimer) -> None:
        """Renew a lease soon, since a request was not answered that the renewal repeats."""
        if timer in self._tasks:
            timer.retry_soon(self._now())
            self._tasks[timer][0].put_back(timer)
            if timer in self._hurried:
                self._hurried[timer].set()

    async def close(self) -> list[str]:
        """Stop renewing, and wait until the tasks have ended. Return the lines that release what
        waiting claims leave behind."""
        tasks = [task for _, task in self._tasks.values()]
        self._is_closed = True
        releases = closing(list(self._tasks), self.leaving)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return releases

    async def _do(self, timer: LeaseTimer, renewals: Renewals, step: Ask | UntilDue) -> object:
        if isinstance(step, Ask):
            return await self._client.ask(step.call, step.limit_s)
        self._hurried[timer] = hurried = asyncio.Event()
        try:
            await ends_within(hurried.wait(), max(0.0, renewals.due_s - self._now()))
        finally:
            del self._hurried[timer]
        return None


def call_soon(on_lost: Callable[[], object]) -> None:
    """Schedule `on_lost` on the event loop. It may raise, which must not end a renewal."""
    asyncio.get_running_loop().call_soon(on_lost)


@public("raftline.aio", "Lease")
class AioLease(BaseLease[asyncio.Event]):
    """A lease: keys that are set under it are deleted when it ends. `async with` grants and
    releases it. A task renews it while it is held.

    `is_held` has the same meaning as in `raftline.api.Lease`. The event loop calls `on_lost`.
    """

    _with = "async with"

    _client: AioSender

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        await self._carry_out(self._leaving(error))

    async def grant(self) -> AioLease:
        """Acquire the lease; see `raftline.api.Lease.grant`. `async with` calls this method."""
        await self._carry_out(self._granting())
        return self

    __aenter__ = grant

    async def check(self, timeout: Seconds | None = None) -> AioLease:
        """Confirm that the lease is held, or raise LeaseLost; see `raftline.api.Lease.check`."""
        await self._carry_out(self._checking(timeout))
        return self

    release = awaited(BaseLease[Any]._releasing, "release")

    async def wait_lost(self) -> bool:
        """Wait until the lease is over; return whether it was lost rather than released. Raises
        RuntimeError if it was not granted."""
        over, timer = self._over, self._granted()
        await over.wait()
        return timer.was_lost

    async def _carry_out(self, steps: Steps[Result]) -> Result:
        async def do(step: Ask | SendOff) -> object:
            if isinstance(step, SendOff):
                return self._client.send_off(step.command, step.settled)
            return await self._client.ask(step.call, step.limit_s)

        return await carry_out_awaiting(steps, do)

    def _new_event(self) -> asyncio.Event:
        return asyncio.Event()

    _call_apart = staticmethod(call_soon)


def _current_task() -> object:
    with contextlib.suppress(RuntimeError):  # no event loop is running
        return asyncio.current_task()
    return None
