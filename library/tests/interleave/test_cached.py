"""A copy in memory: after a sync it has every write before it, whatever its thread does then."""

from __future__ import annotations

import threading
from functools import partial
from typing import cast

from raftline.clients.connections.node_connection import TimedOut
from raftline.clients.kv import cached
from raftline.clients.kv.cached import Cached
from raftline.clients.watches import cached_pairs
from raftline.clients.watches.watch import Watch
from raftline.clients.watches.watch_events import Event
from raftline_testing.interleave.scenarios import check_interleavings, seeds
from raftline_testing.interleave.threads import Thread

LINES = (cached, cached_pairs)
READERS = 2
WRITES = 3


class Watched:
    """Stands in for a `Watch` of the key `a`, which each write sets to its number."""

    def __init__(self) -> None:
        self.written = self.sent = 0
        self._is_closed = False

    def _take_ready(self) -> list[Event[str]]:
        if self._is_closed or self.sent == self.written:
            return []
        self.sent = self.written
        return [Event(self.sent, "set", "a", str(self.sent))]

    def sync(self, timeout: float) -> list[Event[str]] | None:
        Thread.schedule.sleep(0.05)
        return None if self._is_closed else self._take_ready()

    def next_event(self, timeout: float) -> Event[str] | None:
        Thread.schedule.sleep(timeout)
        return next(iter(self._take_ready()), None)

    def close(self) -> None:
        self._is_closed = True


def write_and_read(watch: Watched, cache: Cached[str], closes: bool) -> None:
    for _ in range(WRITES):
        watch.written += 1
        before = watch.written
        try:
            cache.sync()
            assert int(cache["a"]) >= before, "a write before the sync is missing"
        except TimedOut:
            if Thread.schedule.is_punctual:
                raise
        except RuntimeError:
            if not closes:
                raise


def threads_read(*, closes: bool) -> None:
    watch = Watched()
    cache = Cached(cast("Watch[str]", watch), "", 60.0)
    work = partial(write_and_read, watch, cache, closes)
    threads = [threading.Thread(target=work) for _ in range(READERS)]
    try:
        with cache:
            for thread in threads:
                thread.start()
            if closes:
                cache.close()
            for thread in threads:
                thread.join()
    except TimedOut:
        assert not Thread.schedule.is_punctual, "it does not begin"
    cache._thread.join()


@seeds(60, 20_000)
def test_a_sync_brings_every_write_before_it(seeds: range) -> None:
    check_interleavings(lambda: threads_read(closes=False), seeds, LINES)


@seeds(60, 20_000)
def test_nobody_waits_for_a_cache_that_is_closed(seeds: range) -> None:
    check_interleavings(lambda: threads_read(closes=True), seeds, LINES)
