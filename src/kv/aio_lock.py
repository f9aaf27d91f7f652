"""`kv.lock()` and `kv.election()` for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from types import TracebackType
from typing import Generic, Protocol, TypeAlias

from raftline.clients.connection import ClientError
from raftline.clients.steps import carry_out_awaiting
from raftline.kv.aio_lease import AioLease, AioTransport
from raftline.kv.aio_watch import AioWatch
from raftline.kv.callers import Attempt, Callers
from raftline.kv.calls import CALLS, Ask
from raftline.kv.claiming import (
    ClaimStep,
    Grant,
    Look,
    Seen,
    Wait,
    claiming,
    seconds_to_wait,
)
from raftline.kv.claims import BaseClaim, Confirm, HoldStep, Release
from raftline.kv.codec import Codec, Data
from raftline.kv.contest import ELECTIONS, LOCKS, LockKeys
from raftline.kv.errors import LeaseLost
from raftline.kv.lease_timer import LeaseTimer

Watching = Callable[[str], AioWatch[str]]
_Attempt: TypeAlias = Attempt[AioLease]
_Turn: TypeAlias = "asyncio.Future[bool]"  # True: the turn has come


class MakeLease(Protocol):
    """Makes a lease that is not granted yet."""

    def __call__(self, *, on_end: Callable[[LeaseTimer], object] | None = None) -> AioLease: ...


class AioClaim(BaseClaim[AioLease, "asyncio.Future[bool]"]):
    """The part that a lock and an election share: one holder, and a queue of the tasks."""

    def __init__(
        self,
        client: AioTransport,
        make_lease: MakeLease,
        watching: Watching,
        keys: LockKeys,
        on_lost: Callable[[], object] | None = None,
    ) -> None:
        make_lease()  # raises at once if the time can't be one
        super().__init__(keys, on_lost, _call_soon, _caller)
        self._client = client
        self._make_lease = make_lease
        self._watching = watching
        self._mutex = contextlib.nullcontext()  # tasks give way at an await alone
        self._all_callers: Callers[AioLease, _Turn] = Callers(_wake)

    @property
    def _callers(self) -> Callers[AioLease, _Turn]:
        return self._all_callers

    async def check(self) -> int:
        """Return the token, once the cluster has confirmed that it is held: that the lease goes
        on, and that the key is as the entry of the token set it.

        Raises:
            LeaseLost: it is not held.
        """
        return await carry_out_awaiting(self._checking(), self._hold)

    async def _hold(self, step: HoldStep) -> object:
        if isinstance(step, Confirm):
            return await step.lease.check()
        if isinstance(step, Release):
            return await step.lease.release()
        return await self._client.ask(step.call, step.limit_s)

    async def wait_lost(self) -> bool:
        """Wait until it is over; return whether it was lost, and not released. Raises
        RuntimeError if it is not held by this program."""
        return await self._my_lease().wait_lost()

    # --- how it is got --------------------------------------------------------------------------

    async def _get(self, value: str, timeout_s: float | None) -> int | None:
        """Return the token once it is held; None if the time is over first. Tasks that share this
        object have it in the order in which they asked. A cancelled task holds nothing."""
        wait = Wait.of(timeout_s, time.monotonic())
        if not await self._takes_turn(wait):
            return None
        attempt: _Attempt = Attempt(_caller())
        try:
            steps = claiming(self._keys, value, wait, time.monotonic)
            return await carry_out_awaiting(steps, partial(self._do, attempt))
        finally:
            self._hang_up(attempt)
            if attempt.token is None:
                await self._let_go(attempt)

    async def _takes_turn(self, wait: Wait) -> bool:
        turn: _Turn | None = None
        if not wait.is_once:
            turn = asyncio.get_running_loop().create_future()
        if self._callers.comes(turn):
            return True
        if turn is None:
            return False
        is_there = False
        timer = _timer(turn, wait.left_s(time.monotonic()))
        try:
            is_there = await turn
        finally:
            if timer is not None:
                timer.cancel()
            if not is_there:
                self._callers.leaves(turn, has_turn=_has_come(turn))
        return is_there

    async def _do(self, attempt: _Attempt, step: ClaimStep) -> object:
        """Carry out one step of a claim."""
        if isinstance(step, Ask):
            return await self._hold(step)
        if isinstance(step, Grant):
            self._hang_up(attempt)
            await self._drop(attempt)
            attempt.lease = self._make_lease(on_end=partial(self._ended, attempt))
            return (await attempt.lease.grant()).id
        if isinstance(step, Look):
            if attempt.watch is None:
                attempt.watch = self._watching(self._keys.prefix)
            goes_on = await attempt.watch.step(step.until_s)
            return Seen(goes_on, attempt.watch.take_ready(), attempt.watch.is_listed)
        return self._callers.wins(attempt, step.token)

    def _hang_up(self, attempt: _Attempt) -> None:
        watch, attempt.watch = attempt.watch, None
        if watch is not None:
            watch.close()

    async def _drop(self, attempt: _Attempt) -> None:
        lease, attempt.lease = attempt.lease, None
        if lease is not None:
            await lease.drop()

    async def _let_go(self, attempt: _Attempt) -> None:
        """End an attempt that failed, or whose task was cancelled."""

        async def let_go() -> None:
            try:
                await self._drop(attempt)
            finally:
                self._callers.ends(attempt)

        await asyncio.shield(asyncio.ensure_future(let_go()))

    async def give(self) -> None:
        """Give it up.

        Raises:
            LeaseLost: it was no longer held.
            RuntimeError: it is not held by this program.
        """
        await carry_out_awaiting(self._giving(), self._hold)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give it up at the end of an `async with`. An error in the block outranks one here."""
        if self._callers.of(_caller()) is None:
            return
        if error is None:
            await self.give()
        else:
            with contextlib.suppress(ClientError):
                await self.give()


class AioLock(AioClaim):
    """A lock for all programs of the cluster: `async with kv.lock("nightly") as token`; see
    `raftline.Lock`. Tasks may share one object, as with `asyncio.Lock`."""

    def __init__(
        self,
        client: AioTransport,
        make_lease: MakeLease,
        watching: Watching,
        name: str,
        holder: str,
        on_lost: Callable[[], object] | None,
    ) -> None:
        super().__init__(client, make_lease, watching, LockKeys(LOCKS, name), on_lost)
        self._holder = holder

    async def acquire(
        self, blocking: bool | float | None = True, timeout: float | None = -1
    ) -> int | None:
        """Return the fencing token, waiting at most `timeout` seconds; None if it was not got.
        The times are those of `raftline.Lock.acquire`."""
        value = f"{self._holder} process {os.getpid()}"
        return await self._get(value, seconds_to_wait(blocking, timeout))

    async def release(self) -> None:
        """Release it. Raises LeaseLost if it was lost, RuntimeError if it is not held."""
        await self.give()

    async def holder(self) -> str | None:
        """Return the holder by the name that it gave; None: it is free."""
        return await self._client.ask(CALLS.get(self._keys.held))

    async def __aenter__(self) -> int:
        token = await self.acquire()
        if token is None:
            raise LeaseLost(f"the lock {self.name} was not got: this client was closed")
        return token


class AioElection(AioClaim, Generic[Data]):
    """An election of one leader at a time among programs; see `raftline.Election`."""

    def __init__(
        self,
        client: AioTransport,
        make_lease: MakeLease,
        watching: Watching,
        name: str,
        codec: Codec[Data],
        on_lost: Callable[[], object] | None,
    ) -> None:
        super().__init__(client, make_lease, watching, LockKeys(ELECTIONS, name), on_lost)
        self._codec = codec

    _states = ("leads", "does not lead")

    async def __aenter__(self) -> AioElection[Data]:
        return self

    async def campaign(self, value: Data, timeout: float | None = None) -> int | None:
        """Return the fencing token once this program leads, which `leader` then returns as `value`;
        None if it did not come to lead within `timeout` seconds (0: one try; None, -1: for
        ever)."""
        return await self._get(self._codec.text(value), seconds_to_wait(timeout, -1))

    async def resign(self) -> None:
        """Stop leading. Raises LeaseLost if it was lost, RuntimeError if it did not lead."""
        await self.give()

    async def leader(self) -> Data | None:
        """Return the value that the leader campaigned with; None: no leader."""
        value = await self._client.ask(CALLS.get(self._keys.held))
        return None if value is None else self._codec.of(value)

    async def observe(self) -> AsyncIterator[Data | None]:
        """Yield the leader's value now and after each change; None: no leader."""
        async with self._watching(self._keys.prefix) as watch:
            is_reported = False
            while await watch.step():
                for event in watch.take_ready():
                    if event.key == self._keys.held:
                        is_reported = True
                        yield None if event.value is None else self._codec.of(event.value)
                if watch.is_listed and not is_reported:
                    is_reported = True
                    yield None


class _NoTask:
    """The caller of code that runs outside of tasks."""


_NO_TASK = _NoTask()


def _caller() -> object:
    with contextlib.suppress(RuntimeError):  # no event loop runs
        return asyncio.current_task() or _NO_TASK
    return _NO_TASK


def _call_soon(on_lost: Callable[[], object]) -> None:
    asyncio.get_running_loop().call_soon(on_lost)


def _wake(turn: _Turn) -> bool:
    if turn.done():  # its time is over, or its task was cancelled
        return False
    turn.set_result(True)
    return True


def _has_come(turn: _Turn) -> bool:
    return turn.done() and not turn.cancelled() and turn.result()


def _timer(turn: _Turn, left_s: float | None) -> asyncio.TimerHandle | None:
    if left_s is None:
        return None
    return asyncio.get_running_loop().call_later(left_s, _late, turn)


def _late(turn: _Turn) -> None:
    if not turn.done():
        turn.set_result(False)
