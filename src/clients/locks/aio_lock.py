"""`kv.lock()` and `kv.election()` for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Generic, TypeAlias, TypeVar

from ..calls.calls import CALLS, Ask
from ..calls.methods import awaited, short_traceback
from ..calls.value_codec import Data
from ..calls.wait_times import seconds_to_wait
from ..requests.steps import carry_out_awaiting
from ..watches.aio_watch import AioWatch
from .aio_lease import AioLease, AioTransport, call_soon
from .claims import (
    AwaitTurn,
    BaseClaim,
    Claiming,
    ClaimStep,
    HasSlot,
    LeaderChanges,
    Look,
)

Kind = TypeVar("Kind")
_Turn: TypeAlias = "asyncio.Future[bool]"  # True: the caller has its turn


class AioClaim(BaseClaim[AioLease, "asyncio.Future[bool]"]):
    """The part that a lock and an election share: the waits of their tasks."""

    _lease_class = AioLease
    _client: AioTransport
    _watching: Callable[[str], AioWatch[str]]
    _mutex = contextlib.nullcontext()  # tasks switch only at an await

    @short_traceback
    async def _carry_out(self, steps: Claiming[Kind]) -> Kind:
        return await carry_out_awaiting(steps, self._do)

    async def _do(self, step: ClaimStep) -> object:
        if isinstance(step, Ask):
            return await self._client.ask(step.call, step.limit_s)
        if isinstance(step, Look):
            return await step.watch._step(step.until_s)
        if isinstance(step, AwaitTurn):
            return await self._wait(step.waiter, step.until_s)
        return await asyncio.shield(asyncio.ensure_future(self._carry_out(step.steps)))

    async def _wait(self, turn: _Turn, until_s: float | None) -> bool:
        timer = None
        if until_s is not None:
            left_s = max(0.0, until_s - self._now())
            timer = asyncio.get_running_loop().call_later(left_s, _late, turn)
        try:
            return await turn
        finally:
            if timer is not None:
                timer.cancel()

    def _caller(self) -> object:
        with contextlib.suppress(RuntimeError):  # no event loop is running
            return asyncio.current_task() or _NO_TASK
        return _NO_TASK

    def _new_waiter(self) -> _Turn:
        return asyncio.get_running_loop().create_future()

    @staticmethod
    def _wake(waiter: _Turn) -> bool:
        if waiter.done():  # it timed out, or its task was cancelled
            return False
        waiter.set_result(True)
        return True

    def _has_turn(self, waiter: _Turn) -> bool:
        return waiter.done() and not waiter.cancelled() and waiter.result()

    _call_apart = staticmethod(call_soon)

    def check(self) -> Coroutine[Any, Any, int]:
        """Return the token, once the cluster has confirmed that the calling task holds it; see
        `raftline.Lock.check`."""
        return self._carry_out(self._checking(self._caller()))

    def wait_lost(self) -> Coroutine[Any, Any, bool]:
        """Wait until it is over; return whether it was lost rather than released. Raises
        RuntimeError if this program does not hold it."""
        return self._my_lease().wait_lost()

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Release it at the end of an `async with`. An error in the block takes precedence over an
        error here."""
        await self._carry_out(self._leaving(error))


class AioLock(AioClaim):
    """A lock for all programs of the cluster: `async with kv.lock("nightly") as token`; see
    `raftline.Lock`. Tasks may share one object, as with `asyncio.Lock`. The task that calls a
    method is the holder, even if another task awaits the call (`asyncio.wait_for`)."""

    def acquire(
        self, blocking: bool | float | None = True, timeout: float | None = -1
    ) -> Coroutine[Any, Any, int | None]:
        """Return the fencing token, waiting at most `timeout` seconds; None if the lock was not
        acquired. See `raftline.Lock.acquire`."""
        wait_s = seconds_to_wait(blocking, timeout)
        return self._carry_out(self._getting(self._value, wait_s, self._caller()))

    holder = awaited(BaseClaim[Any, Any]._holder, "holder")
    __aenter__ = awaited(BaseClaim[Any, Any]._entering, "__aenter__")

    def release(self) -> Coroutine[Any, Any, None]:
        """Release it. Raises LeaseLost if it was lost, RuntimeError if it is not held."""
        return self._carry_out(self._giving(self._caller()))


class AioSemaphore(HasSlot, AioLock):
    """A lock that up to `limit` programs hold at a time; see `raftline.Semaphore`. Each task that
    uses an object holds it for itself."""

    holders = awaited(BaseClaim[Any, Any]._holders, "holders")


class AioElection(AioClaim, Generic[Data]):
    """An election of one leader at a time among programs; see `raftline.Election`."""

    _states = ("leads", "does not lead")

    async def __aenter__(self) -> AioElection[Data]:
        return self

    def campaign(
        self, value: Data, timeout: float | None = None
    ) -> Coroutine[Any, Any, int | None]:
        """Return the fencing token once this program leads; `leader` then returns `value`. Return
        None if it did not become the leader within `timeout` seconds (0: one try; None, -1: for
        ever)."""
        text = self._codec.text(value)
        wait_s = seconds_to_wait(timeout, -1)
        return self._carry_out(self._getting(text, wait_s, self._caller()))

    def resign(self) -> Coroutine[Any, Any, None]:
        """Stop leading. Raises LeaseLost if it was lost, RuntimeError if it did not lead."""
        return self._carry_out(self._giving(self._caller()))

    async def leader(self) -> Data | None:
        """Return the value that the leader campaigned with; None if there is no leader."""
        return self._codec.of_any(await self._client.ask(CALLS.get(self._keys.held)))

    async def observe(self) -> AsyncIterator[Data | None]:
        """Yield the leader's value now and after each change; None while there is no leader."""
        leaders = LeaderChanges(self._keys)
        async with self._watching(self._keys.prefix) as watch:
            while await watch._step():
                for value in leaders.take(watch):
                    yield self._codec.of_any(value)


class _NoTask:
    """The caller of code that runs outside of tasks."""


_NO_TASK = _NoTask()


def _late(turn: _Turn) -> None:
    if not turn.done():
        turn.set_result(False)
