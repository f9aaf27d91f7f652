"""A copy in memory that a task keeps: what it has after a sync, a failure of its watch, its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from raftline.clients.connections.node_connection import Unreachable
from raftline.clients.kv.cached import AioCached
from raftline.clients.watches.aio_watch import AioWatch
from raftline.clients.watches.watch_events import Event


class Watched:
    """Stands in for a watch of the key `a`, which each write sets to its number."""

    def __init__(self) -> None:
        self.written = self.sent = 1
        self._is_closed = False
        self.failure: Exception | None = None

    def _take_ready(self) -> list[Event[str]]:
        return [Event(self.written, "set", "a", str(self.written))]

    async def sync(self, timeout: float) -> list[Event[str]] | None:
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return None if self._is_closed else self._take_ready()

    async def next_event(self, timeout: float) -> Event[str] | None:
        await asyncio.sleep(0)
        return None

    def close(self) -> None:
        self._is_closed = True


def run(then: Callable[[Watched], object]) -> tuple[Watched, AioCached[str], list[str | None]]:
    """Keep a copy, do something to its watch, and sync twice; return what the syncs found."""
    watch, found = Watched(), list[str | None]()

    async def keep() -> AioCached[str]:
        cache = AioCached[str](cast("AioWatch[str]", watch), "", 60.0)
        async with cache:
            for _ in range(2):
                await cache.sync()
                found.append(cache["a"])
                watch.written += 1
            then(watch)
            try:
                await asyncio.wait_for(cache.sync(), 60.0)
            except (RuntimeError, Unreachable):
                found.append(None)
            else:
                found.append(cache["a"])
        return cache

    return watch, asyncio.run(keep()), found


def test_a_sync_has_each_write_before_it() -> None:
    _, cache, found = run(lambda _: None)
    assert found == ["1", "2", "3"]
    with pytest.raises(RuntimeError, match="was closed"):
        cache["a"]


def test_nobody_waits_for_a_watch_that_has_failed() -> None:
    _, cache, found = run(lambda watch: setattr(watch, "failure", Unreachable("gone")))
    assert found == ["1", "2", None]
    with pytest.raises(Unreachable, match="gone"):
        cache["a"]


def test_nobody_waits_for_a_watch_that_was_closed() -> None:
    assert run(Watched.close)[2] == ["1", "2", None]
