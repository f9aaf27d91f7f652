"""`kv.cached(prefix)`: the pairs of a prefix as a local mapping, kept by a watch in a thread or a
task."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Generic

from raftline.common.public import public

from ..calls.value_codec import Data
from ..calls.wait_times import end_of_wait
from ..connections.node_connection import TimedOut
from ..requests.times import Seconds
from ..watches.aio_watch import AioWatch
from ..watches.cached_pairs import CHECK_S, CachedPairs
from ..watches.watch import Watch

_LATE = "the cache did not have all writes in time"


@public("raftline.api")
class Cached(CachedPairs[Data], Generic[Data]):
    """The pairs of a prefix in memory: `with kv.cached("app/") as cache: cache["app/a"]`.

    A thread keeps it by a watch, and brings it up to date every five seconds. `with` waits until
    all keys have arrived. Any thread may read it; reading sends no request. If no node serves the
    watch, the copy stays as it is, and its `age` grows.
    """

    def __init__(self, watch: Watch[Data], prefix: Data | None, limit_s: float) -> None:
        super().__init__(prefix, limit_s)
        self._watch = watch
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._thread = threading.Thread(target=self._run, name="a cache", daemon=True)

    def start(self) -> Cached[Data]:
        """Begin, and wait until all keys have arrived. `with` calls this method. Raises TimedOut if
        they do not arrive within the time limit of the client."""
        self._thread.start()
        try:
            self.sync(self._limit_s)
        except BaseException:
            self.close()
            raise
        return self

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.close()

    def sync(self, timeout: Seconds | None = None) -> None:
        """Wait until the copy has every write that was acknowledged before this call, at most
        `timeout` seconds or the time limit of the client. Raises TimedOut."""
        wanted_s = self._now()
        until_s = end_of_wait(self._limit_s if timeout is None else timeout, wanted_s)
        with self._lock:
            self._wanted_s = max(self._wanted_s, wanted_s)
            while self._as_of_s < wanted_s and self._error is None and not self._is_closed:
                left_s = (until_s or 0.0) - self._now()
                if left_s <= 0:
                    raise TimedOut(_LATE)
                self._changed.wait(left_s)
        self._current  # noqa: B018 - raises the error of the watch

    def close(self) -> None:
        """End the watch. Any thread may call it."""
        with self._lock:
            self._is_closed = True
            self._changed.notify_all()
        self._watch.close()

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except Exception as error:
            self._error = error
        finally:
            with self._lock:
                self._is_closed = True
                self._changed.notify_all()

    def _step(self) -> bool:
        """Take the next events; return whether to continue."""
        watch, begun_s = self._watch, self._now()
        if self._is_sync_due:
            events = watch.sync(self._limit_s)
            with self._lock:
                self._apply(watch._take_ready() if events is None else events)
                if events is not None:
                    self._as_of_s = begun_s
                    self._changed.notify_all()
        else:
            event = watch.next_event(CHECK_S)
            with self._lock:
                self._apply([] if event is None else [event, *watch._take_ready()])
        return not watch._is_closed


@public("raftline.aio", "Cached")
class AioCached(CachedPairs[Data], Generic[Data]):
    """The pairs of a prefix in memory: `async with kv.cached("app/") as cache: cache["app/a"]`.

    A task keeps it; see `raftline.api.Cached`. Reading it needs no await.
    """

    def __init__(self, watch: AioWatch[Data], prefix: Data | None, limit_s: float) -> None:
        super().__init__(prefix, limit_s)
        self._watch = watch
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> AioCached[Data]:
        """Begin, and wait until all keys have arrived; see `raftline.api.Cached.start`."""
        self._task = self._watch._task = asyncio.get_running_loop().create_task(self._run())
        try:
            await self.sync(self._limit_s)
        except BaseException:
            await self.close()
            raise
        return self

    __aenter__ = start

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def sync(self, timeout: Seconds | None = None) -> None:
        """Wait until the copy has every write that was acknowledged before this call; see
        `raftline.api.Cached.sync`."""
        wanted_s = self._now()
        until_s = end_of_wait(self._limit_s if timeout is None else timeout, wanted_s)
        self._wanted_s = max(self._wanted_s, wanted_s)
        async with self._changed:
            while self._as_of_s < wanted_s and self._error is None and not self._is_closed:
                left_s = (until_s or 0.0) - self._now()
                try:
                    await asyncio.wait_for(self._changed.wait(), max(0.0, left_s))
                except asyncio.TimeoutError:
                    raise TimedOut(_LATE) from None
        self._current  # noqa: B018 - raises the error of the watch

    async def close(self) -> None:
        """End the watch and its task."""
        self._is_closed = True
        self._watch.close()
        if self._task is not None and self._task is not asyncio.current_task():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({self._task})

    async def _run(self) -> None:
        try:
            while await self._step():
                pass
        except Exception as error:
            self._error = error
        finally:
            self._is_closed = True
            async with self._changed:
                self._changed.notify_all()

    async def _step(self) -> bool:
        """Take the next events; return whether to continue."""
        watch, begun_s = self._watch, self._now()
        if self._is_sync_due:
            events = await watch.sync(self._limit_s)
            self._apply(watch._take_ready() if events is None else events)
            if events is not None:
                self._as_of_s = begun_s
                async with self._changed:
                    self._changed.notify_all()
        else:
            event = await watch.next_event(CHECK_S)
            self._apply([] if event is None else [event, *watch._take_ready()])
        return not watch._is_closed
