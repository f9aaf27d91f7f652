"""`kv.lease()` for asyncio: a lease that a task renews."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, TypeVar

from raftline.clients.connection import ClientError
from raftline.common.nocopies import NoCopies
from raftline.kv.calls import Call, seconds_of
from raftline.kv.errors import LeaseLost
from raftline.kv.holding import RENEWALS, Holding, clock
from raftline.kv.lease import CALLS, LEAST_S

Result = TypeVar("Result")


class AioAsking(Protocol):
    """A client that carries out calls."""

    async def ask(self, call: Call[Result], timeout: float | None = None) -> Result: ...


class AioLease(NoCopies):
    """A lease: keys that are set under it go when it ends. `async with` grants, renews and
    releases it. A task of its own renews it while it is held.

    `is_held` and `on_lost` are as those of `raftline.Lease`.
    """

    def __init__(
        self,
        client: AioAsking,
        tasks: set[asyncio.Task[None]],
        ttl: float,
        on_lost: Callable[[], object] | None = None,
        keep: bool = True,
    ) -> None:
        """Without `keep` no task renews it: the program does, by `check`."""
        self._client = client
        self._tasks = tasks  # of the client, which ends them when it is closed
        self._seconds = seconds_of(ttl)
        self._on_lost = on_lost
        self._keeps = keep
        self._holding: Holding | None = None
        self._task: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()

    def __repr__(self) -> str:
        what = "not granted" if self._holding is None else self._holding.lease
        return f"<AioLease {what}, {self._seconds} s, {'held' if self.is_held else 'not held'}>"

    def __str__(self) -> str:
        return self.id

    async def __aenter__(self) -> AioLease:
        return await self.grant()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._holding is None or self._holding.is_over:
            if self._lost.is_set() and error is None:
                raise self._loss()
            return
        if error is None:
            await self.release()
        else:
            with contextlib.suppress(ClientError):  # the error inside says more
                await self.release()

    @property
    def id(self) -> str:
        """Its name in the cluster: `lease-57`."""
        if self._holding is None:
            raise RuntimeError("this lease was not granted yet: async with kv.lease(10) as lease")
        return self._holding.lease

    @property
    def is_held(self) -> bool:
        """Whether it is held for certain, by this program's own clock."""
        return self._holding is not None and self._holding.is_held(clock())

    @property
    def left(self) -> float:
        """The seconds for which it is held without another renewal."""
        return max(0.0, self._holding.until_s - clock()) if self._holding is not None else 0.0

    async def wait_lost(self) -> None:
        """Wait until it is lost."""
        await self._lost.wait()

    async def grant(self) -> AioLease:
        """Have it granted, and renewed from now on. `async with` does this by itself."""
        if self._holding is not None and not self._holding.is_over:
            raise RuntimeError(f"{self.id} is granted already; make another one: kv.lease(…)")
        self._lost = asyncio.Event()
        sent_s = clock()
        name = await self._client.ask(CALLS.grant(self._seconds))
        holding = self._holding = Holding(name, self._seconds, sent_s)
        if not self.is_held:  # the answer came that late
            raise self._lose(holding)
        if self._keeps:
            self._task = asyncio.ensure_future(self._keep(holding))
            self._tasks.add(self._task)
            self._task.add_done_callback(self._tasks.discard)
        return self

    async def check(self, timeout: float | None = None) -> AioLease:
        """Have the cluster confirm that it is held, with its whole time again. `timeout` is that
        of the client where none is given.

        Raises:
            LeaseLost: it is not.
        """
        holding = self._held()
        if not await self._renew(holding, timeout):
            raise self._lose(holding)
        return self

    async def release(self) -> int:
        """End it; its keys are deleted. Return how many.

        Raises:
            LeaseLost: it had ended before.
        """
        holding = self._held()
        was_held = holding.is_held(clock())
        holding.is_over = True
        if self._task is not None:
            self._task.cancel()
        deleted = await self._client.ask(CALLS.release(holding.lease))
        if not was_held:
            raise self._loss()
        return deleted

    async def _keep(self, holding: Holding) -> None:
        while not holding.is_over:
            due_s = min(holding.renew_at_s, holding.until_s)
            await asyncio.sleep(max(0.0, due_s - clock()))
            left_s = holding.until_s - clock()
            if left_s <= 0:
                self._lose(holding)
                return
            limit_s = max(LEAST_S, min(left_s, self._seconds / RENEWALS))
            try:
                if not await self._renew(holding, limit_s) and not holding.is_over:
                    self._lose(holding)
            except ClientError:
                holding.not_renewed(clock())

    def _held(self) -> Holding:
        if self._holding is None:
            raise RuntimeError("this lease was not granted: async with kv.lease(10) as lease")
        if self._holding.is_over:
            raise self._loss()
        return self._holding

    async def _renew(self, holding: Holding, limit_s: float | None) -> bool:
        sent_s = clock()
        if not await self._client.ask(CALLS.renew(holding.lease), limit_s):
            return False
        holding.renewed(sent_s)
        return holding.is_held(clock())

    def _lose(self, holding: Holding) -> LeaseLost:
        was_over, holding.is_over = holding.is_over, True
        self._lost.set()
        if self._on_lost is not None and not was_over:
            self._on_lost()
        return self._loss()

    def _loss(self) -> LeaseLost:
        return LeaseLost(f"{self.id} has ended: it was released, or not renewed in time")
