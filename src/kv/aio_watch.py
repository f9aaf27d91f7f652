"""`kv.watch()` for asyncio: `async for event in kv.watch("app/")`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from raftline.clients.steps import carry_out_awaiting
from raftline.common.address import Address
from raftline.common.errors import RaftlineError
from raftline.kv.asker import AioAsker
from raftline.kv.codec import Data
from raftline.kv.events import Event, WatchCursor
from raftline.kv.following import (
    BaseWatch,
    Connect,
    HangUp,
    Rest,
    Send,
    Watching,
    WatchMachine,
    WatchStep,
)
from raftline.kv.line_stream import LineStream, open_stream
from raftline.kv.wait_times import end_of_wait


class AioWatch(BaseWatch[Data], AsyncIterator[Event[Data]]):
    """The events of the keys with a prefix: first the keys that there are, then each change.

    It has a connection, and no task: lines are read while the program iterates.
    """

    def __init__(self, asker: AioAsker, cursor: WatchCursor[Data], open_s: float) -> None:
        """Make no connection yet; see `WatchMachine`."""
        super().__init__(WatchMachine(asker.addresses, asker.name, cursor, open_s))
        self._asker = asker
        self._stream: LineStream | None = None

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

    async def next_event(self, timeout: float | None = None) -> Event[Data] | None:
        """Return the next event; None if none came in `timeout` seconds, or it was closed."""
        until_s = end_of_wait(timeout, time.monotonic())
        while not self._machine.ready:
            if not await self._run(self._machine.take_line(until_s)):
                return None
        return self._machine.ready.popleft()

    async def sync(self, timeout: float | None = None) -> list[Event[Data]] | None:
        """Return the events up to now; None if they did not come in `timeout` seconds, or it was
        closed; see `raftline.Watch.sync`. The task that iterates calls it."""
        until_s = end_of_wait(timeout, time.monotonic())
        return self._take_ready() if await self._run(self._machine.sync(until_s)) else None

    def close(self) -> None:
        """End it; the task that iterates stops."""
        self._machine.is_closed = True
        self._hang_up()

    async def _step(self, until_s: float | None = None) -> bool:
        """Take one line; return False if none came in time, or the watch was closed."""
        return await self._run(self._machine.take_line(until_s))

    async def _run(self, steps: Watching) -> bool:
        self._asker.check_place()
        try:
            return await carry_out_awaiting(steps, self._do)
        except RaftlineError as error:
            failure = error
        raise failure.with_traceback(None)

    async def _do(self, step: WatchStep) -> object:
        stream = self._stream
        if isinstance(step, Connect):
            return await self._open(step)
        elif isinstance(step, HangUp):
            self._hang_up()
        elif isinstance(step, Rest):
            await asyncio.sleep(step.seconds)
        elif stream is None:
            raise ConnectionError("this watch was closed")
        elif isinstance(step, Send):
            stream.send(step.line)
        else:
            return await stream.read(max(0.0, step.until_s - time.monotonic()))
        return None

    async def _open(self, step: Connect) -> Address:
        asker, address, limit_s = self._asker, step.address, step.limit_s
        self._stream = stream = await open_stream(
            address, asker.name, asker.tls, asker.credentials, limit_s, asks_codes=True,
            others=step.others,
        )  # fmt: skip
        if self._machine.is_closed:
            self._hang_up()
        return stream.address

    def _hang_up(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.abort()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the event loop has ended
            self._hang_up()
