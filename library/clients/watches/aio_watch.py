"""`kv.watch()` for asyncio: `async for event in kv.watch("app/")`."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import AsyncIterator, Callable

from raftline.common.public import public

from ..asyncio.asker import AioAsker
from ..asyncio.line_stream import AioNodeShell
from ..calls.value_codec import Data
from ..calls.wait_times import end_of_wait
from ..connections.node_connection import ClientError
from ..requests.health import report_error
from ..requests.times import Seconds
from ..steps import carry_out_awaiting
from .watch_events import Event, WatchCursor
from .watch_machine import BaseWatch, WatchMachine, WatchSteps


@public("raftline.aio", "Watch")
class AioWatch(BaseWatch[Data], AsyncIterator[Event[Data]]):
    """The events of the keys with a prefix: first the existing keys, then each change.

    It has a connection but no task: lines are read while the program iterates.
    """

    def __init__(self, asker: AioAsker, cursor: WatchCursor[Data], open_s: float) -> None:
        """Initialize without connecting; see `WatchMachine`."""
        super().__init__(WatchMachine(asker.addresses, asker.name, cursor, open_s))
        self._asker = asker
        self._task: asyncio.Task[None] | None = None  # which calls a function with each event
        addresses = asker.addresses
        self._node = AioNodeShell(asker.name, asker.access, cluster=lambda: addresses.cluster)

    async def __aenter__(self) -> AioWatch[Data]:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> AioWatch[Data]:
        return self

    async def __anext__(self) -> Event[Data]:
        event = await self.next_event()
        if event is None:
            raise StopAsyncIteration
        return event

    async def next_event(self, timeout: Seconds | None = None) -> Event[Data] | None:
        """Return the next event; None if no event came within `timeout` seconds, or the watch was
        closed."""
        until_s = end_of_wait(timeout, time.monotonic())
        while not self._machine.ready:
            if not await self._run(self._machine.take_line(until_s)):
                return None
        return self._machine.ready.popleft()

    async def sync(self, timeout: Seconds | None = None) -> list[Event[Data]] | None:
        """Return the events up to now; None if they did not come within `timeout` seconds, or the
        watch was closed; see `raftline.api.Watch.sync`. Call it from the task that iterates."""
        until_s = end_of_wait(timeout, time.monotonic())
        return self._take_ready() if await self._run(self._machine.sync(until_s)) else None

    def each(self, call: Callable[[Event[Data]], object]) -> AioWatch[Data]:
        """Call a function with each event, one after the other, in a task of its own, until the
        watch is closed. Return the watch. A coroutine function is awaited. See
        `raftline.api.Watch.each`."""
        if not callable(call):
            raise TypeError(f"a function for events is not of type {type(call).__name__}")
        self._task = asyncio.get_running_loop().create_task(self._call_each(call))
        return self

    async def _call_each(self, call: Callable[[Event[Data]], object]) -> None:
        try:
            async for event in self:
                try:
                    result = call(event)
                    if inspect.isawaitable(result):
                        await result
                except Exception:
                    report_error("%r raised an exception at an event of a watch", call)
        except ClientError:
            report_error("a watch has ended, and its function is not called any more")

    def close(self) -> None:
        """End the watch; the task that iterates over it stops."""
        self._machine.is_closed = True
        self._node.over.set()
        self._end_here()

    async def _step(self, until_s: float | None = None) -> bool:
        """Process one line; return False if no line came in time, or the watch was closed."""
        return await self._run(self._machine.take_line(until_s))

    async def _run(self, steps: WatchSteps) -> bool:
        self._asker.check_place()
        return await carry_out_awaiting(steps, self._node.do)

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the event loop has ended
            self._end_here()

    def _end_here(self) -> None:
        """End the connection, unless it belongs to the process that forked."""
        if self._asker.is_here:
            self._node.close()
