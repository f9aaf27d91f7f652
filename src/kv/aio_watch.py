"""`kv.watch()` for asyncio: `async for event in kv.watch("app/")`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic

from raftline.clients.addresses import MEMBERS
from raftline.clients.connection import (
    CONNECT_TIMEOUT_S,
    ClientError,
    NoLeader,
    Unreachable,
    in_words,
    line_of,
)
from raftline.common.nocopies import NoCopies
from raftline.kv.asker import AioAsker
from raftline.kv.codec import Data
from raftline.kv.events import Event, WatchCursor, WatchEnded
from raftline.kv.line_stream import LineStream, open_stream
from raftline.kv.liveness import MEMBERS_ID, PROBE, PROBE_ID, Liveness, Outage
from raftline.kv.watch import LOG, PAUSES_S, text_and_id, turns_of


class AioWatch(NoCopies, Generic[Data], AsyncIterator[Event[Data]]):
    """The events of the keys with a prefix: first the keys that there are, then each change.

    It has a connection, and no task: lines are read while the program iterates.
    """

    def __init__(self, asker: AioAsker, cursor: WatchCursor[Data], open_s: float) -> None:
        """Make no connection yet; see `Watch`."""
        self._asker = asker
        self._nodes = turns_of(asker.addresses)
        self._cursor = cursor
        self._open_s = open_s
        self._give_up_s = 0.0
        self._was_served = False
        self._ready: deque[Event[Data]] = deque()
        self._is_closed = False
        self._stream: LineStream | None = None
        self._pause_s = PAUSES_S[0]
        self._outage = Outage()

    def __repr__(self) -> str:
        return f"<a watch of {self._asker.name}, {'closed' if self._is_closed else 'open'}>"

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

    @property
    def position(self) -> int | None:
        """The index after which `kv.watch(after=…)` would go on; None amid the first keys."""
        return self._cursor.position

    @property
    def is_listed(self) -> bool:
        """Whether all keys that existed at its beginning have come."""
        return self._cursor.is_listed

    async def next_event(self, timeout: float | None = None) -> Event[Data] | None:
        """Return the next event; None if none came in `timeout` seconds, or it was closed."""
        until_s = None if timeout is None else time.monotonic() + timeout
        while not self._ready:
            if not await self.step(until_s):
                return None
        return self._ready.popleft()

    def take_ready(self) -> list[Event[Data]]:
        """Return the events that have come."""
        events = list(self._ready)
        self._ready.clear()
        return events

    def close(self) -> None:
        """End it; the task that iterates stops."""
        self._is_closed = True
        self._hang_up()

    async def step(self, until_s: float | None = None) -> bool:
        """Take one line; return False if none came in time, or the watch was closed."""
        self._asker.check_place()
        while not self._is_closed:
            try:
                if self._stream is None:
                    await self._connect()
                stream = self._stream
                if stream is None:
                    return False
                return await self._take(stream, until_s)
            except (OSError, WatchEnded, ClientError) as problem:
                self._hang_up()
                await self._move_on(problem, until_s)
                if until_s is not None and time.monotonic() >= until_s:
                    return False
        return False

    async def _connect(self) -> None:
        if not self._was_served and self._open_s > 0:
            self._give_up_s = time.monotonic() + self._open_s
            self._open_s = 0.0
        asker = self._asker
        try:
            stream = await open_stream(
                self._nodes.current, asker.name, asker.tls, asker.credentials, CONNECT_TIMEOUT_S
            )
        except Unreachable as refusal:
            raise WatchEnded(str(refusal)) from None
        if self._is_closed:
            stream.abort()
        self._stream = stream
        self._liveness = Liveness(time.monotonic())
        self._ask_for_members(stream)  # before any event, so that they are known then
        stream.send(line_of(self._asker.name, self._cursor.command))

    def _ask_for_members(self, stream: LineStream) -> None:
        if self._nodes.addresses.asks(time.monotonic()):
            stream.send(line_of(f"{self._asker.name}#{MEMBERS_ID}", MEMBERS))

    async def _take(self, stream: LineStream, until_s: float | None) -> bool:
        liveness = self._liveness
        due_s = liveness.due_s if until_s is None else min(liveness.due_s, until_s)
        self._ask_for_members(stream)
        try:
            raw = await stream.read(max(0.0, due_s - time.monotonic()))
        except TimeoutError:
            now_s = time.monotonic()
            if liveness.is_dead(now_s):
                raise WatchEnded("it said nothing for too long") from None
            if liveness.begin_probe(now_s):
                stream.send(line_of(f"{self._asker.name}#{PROBE_ID}", PROBE))
            return until_s is None or now_s < until_s
        now_s = time.monotonic()
        text, number = text_and_id(raw)
        liveness.heard(now_s)
        if number == PROBE_ID:
            if text.startswith("Sorry, "):
                raise WatchEnded(text)
            liveness.confirmed(now_s)
            return True
        if number == MEMBERS_ID:
            self._nodes.addresses.take(text, now_s)
            return True
        events = self._cursor.take(text)
        self._ready.extend(events)
        if events or text.startswith("WATCH "):
            liveness.confirmed(now_s)
            self._was_served = True
            self._pause_s = PAUSES_S[0]
            if line := self._outage.served(now_s):
                LOG.warning(line)
        return True

    async def _move_on(self, problem: Exception, until_s: float | None) -> None:
        """Turn to the next node. Raise a problem that each node would have."""
        if self._is_closed:
            return
        if isinstance(problem, ClientError):
            raise problem
        if isinstance(problem, WatchEnded):
            self._cursor.refused(str(problem))
        self._nodes.move_on(self._nodes.current, None)
        now_s = time.monotonic()
        where = in_words(self._nodes.known)
        if not self._was_served and now_s >= self._give_up_s:
            if isinstance(problem, WatchEnded):
                raise NoLeader(str(problem).removeprefix("Sorry, ")) from None
            raise Unreachable(f"nobody serves it at {where}. The last: {problem}") from None
        if self._was_served and (line := self._outage.failed(now_s, where, str(problem))):
            LOG.warning(line)
        pause_s = self._pause_s
        self._pause_s = min(PAUSES_S[1], 1.5 * pause_s)
        await asyncio.sleep(pause_s if until_s is None else min(pause_s, max(0, until_s - now_s)))

    def _hang_up(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.abort()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the event loop has ended
            self._hang_up()
