"""A cluster in memory for locks: a state machine for threads or tasks, and its watches."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from raftline.clients.calls.calls import Call
from raftline.clients.calls.value_codec import TEXT
from raftline.clients.connections.node_connection import Closed
from raftline.clients.leases.aio_lease import AioKeeper
from raftline.clients.leases.gates import Gates
from raftline.clients.leases.kept_leases import KeptLeases
from raftline.clients.leases.lease import Keeper, Lease
from raftline.clients.leases.lease_timer import LeaseTimer
from raftline.clients.watches.watch_events import Event, WatchCursor
from raftline.harness.kv_model import Model
from raftline.recipes.locks.aio_lock import AioElection, AioLock, AioSemaphore
from raftline.recipes.locks.lock import Election, Lock, Semaphore
from raftline.recipes.locks.lock_keys import ELECTIONS, LOCKS, LockKeys, SharedKeys, Slots
from raftline.state.key_pages import read_selection, take_page
from raftline.wire.commands import watch_lines as words

Result = TypeVar("Result")
HELD = LockKeys(LOCKS, "nightly").held


class _Kept:
    def __init__(self) -> None:
        self.timers: list[LeaseTimer] = []
        self.kept = KeptLeases()
        self.leaving: set[str] = set()
        self.hurried: list[LeaseTimer] = []

    def keep(self, timer: LeaseTimer) -> None:
        self.timers.append(timer)

    def drop(self, timer: LeaseTimer) -> None:
        if timer in self.timers:
            self.timers.remove(timer)

    def hurry(self, timer: LeaseTimer) -> None:
        self.hurried.append(timer)

    def flush_soon(self, flush: Callable[[], object]) -> None:
        """Do nothing: the test answers what is sent off."""


class NoKeeper(_Kept, Keeper):
    """A keeper that renews nothing, so that it starts no thread."""


class NoAioKeeper(_Kept, AioKeeper):
    """A keeper that renews nothing, so that it starts no task."""


class Store:
    """A state machine whose leases do not end by themselves."""

    timeout = 10.0
    ttl = 10.0  # of its leases

    def __init__(self) -> None:
        self.model = Model()
        self.lines: list[str] = []
        self.asked: list[str] = []
        self.sent_off: list[tuple[str, Callable[[str | None], object]]] = []
        self.is_disconnected = False
        self.before: Callable[[str], object] = lambda command: None
        self.after: Callable[[str], object] = lambda command: None

    @property
    def gates(self) -> Gates:
        """New gates for each claim, so that all contend as claims of different clients."""
        return Gates()

    def keys(self) -> dict[str, str]:
        """Return the keys, without what abandoned claims leave until the end of their lease."""
        pairs = self.model.store.items()
        return {key: value for key, value in pairs if "/gone/" not in key}

    def send_off(self, command: str, settled: Callable[[str | None], object]) -> bool:
        """Keep a request whose answer is not awaited for the test to answer."""
        if self.is_disconnected:
            return False
        self.sent_off.append((command, settled))
        return True

    def flush(self) -> None:
        """Do nothing."""

    def carry_out(self, call: Call[Result]) -> Result:
        self.asked.append(call.command)
        verb, _, rest = call.command.partition(" ")
        if verb == "renew":
            is_there = rest in self.model.store.leases.granted
            return call.read(f"RENEW response{'' if is_there else ', no such lease'}: {rest}")
        if verb == "show":
            selection = read_selection(call.command)
            assert selection is not None
            return call.read(take_page(self.model.store, selection).format())
        found = self.model.ask(call)
        self.take_events()
        return found

    def take_events(self) -> None:
        """Pass the changes to the watches."""
        self.lines += [
            words.event(event.number, event.kind, event.key, event.value)
            for event in self.model.events()
        ]


class Followed:
    """The lines of one watch."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._cursor = WatchCursor(TEXT, prefix, None)
        pairs = [pair for pair in sorted(store.keys().items()) if pair[0].startswith(prefix)]
        number = store.model.store.number
        self._first = [words.begins(len(pairs), number), *(words.has(number, *it) for it in pairs)]
        self._keys = len(store.lines)
        self._ready: list[Event[str]] = []
        self._prefix = prefix
        self._is_closed = False

    def takes(self) -> bool:
        """Take the next line, if there is one."""
        if self._first:
            self._ready += self._cursor.take(self._first.pop(0))
            return True
        if self._keys == len(self._store.lines):
            return False
        events = self._cursor.take(self._store.lines[self._keys])
        self._ready += [event for event in events if event.key.startswith(self._prefix)]
        self._keys += 1
        return True

    @property
    def is_listed(self) -> bool:
        return self._cursor.is_listed

    def _take_ready(self) -> list[Event[str]]:
        ready, self._ready = self._ready, []
        return ready


class Cluster(Store):
    """A cluster for threads."""

    was_served = False

    def __init__(self) -> None:
        super().__init__()
        self.changed = threading.Condition()
        self.keeper: Keeper = NoKeeper()
        self.is_closed = False
        self._watches: list[Watch] = []

    def ask(self, call: Call[Result], timeout: float | None = None) -> Result:
        if self.is_closed:
            raise Closed("this client was closed")
        self.before(call.command)
        with self.changed:
            found = self.carry_out(call)
            self.changed.notify_all()
        self.after(call.command)
        return found

    def keys(self) -> dict[str, str]:
        with self.changed:  # another thread may change them meanwhile
            return super().keys()

    def watch(self, prefix: str) -> Any:
        with self.changed:
            if self.is_closed:
                raise Closed("this client was closed")
            self._watches.append(Watch(self, prefix))
            return self._watches[-1]

    def close(self) -> None:
        """Close the client of all threads, as `Shared.close` does."""
        with self.changed:
            self.is_closed = True
            for watch in self._watches:
                watch.close()
            self.changed.notify_all()
        for line in self.keeper.close():
            with self.changed:
                self.carry_out(Call(line, str))

    def lock(self, name: str = "nightly", **more: Any) -> Lock:
        on_lost = more.pop("on_lost", None)
        return Lock(
            self,
            self.keeper,
            self.watch,
            LockKeys(LOCKS, name),
            self.ttl,
            on_lost,
            "program",
            **more,
        )

    def shared_lock(self, on_lost: Any = None) -> Lock:
        keys = SharedKeys("nightly")
        return Lock(self, self.keeper, self.watch, keys, self.ttl, on_lost, "program")

    def semaphore(self, limit: int) -> Semaphore:
        keys = Slots("reports", limit)
        return Semaphore(self, self.keeper, self.watch, keys, self.ttl, None, "program")

    def election(self, name: str = "service") -> Election[str]:
        return Election(self, self.keeper, self.watch, LockKeys(ELECTIONS, name), self.ttl)

    def lease(self, ttl: float = 10, **more: Any) -> Lease:
        return Lease(self, self.keeper, ttl, **more)


class Watch(Followed):
    """A watch that a thread reads."""

    def __init__(self, cluster: Cluster, prefix: str) -> None:
        super().__init__(cluster, prefix)
        self._changed = cluster.changed

    def _step(self, until_s: float | None = None) -> bool:
        with self._changed:
            while not self.takes():
                left_s = None if until_s is None else until_s - time.monotonic()
                if self._is_closed or (left_s is not None and left_s <= 0):
                    return False
                self._changed.wait(left_s)
        return True

    def close(self) -> None:
        self._is_closed = True


class AioCluster(Store):
    """A cluster for tasks: it answers without a turn of the event loop, unless `way_s` says
    otherwise."""

    was_served = False

    def __init__(self) -> None:
        super().__init__()
        self.changed: list[asyncio.Future[None]] = []
        self.keeper: AioKeeper = NoAioKeeper()
        self.ways = 0  # turns of the loop that a request takes, and its reply

    async def ask(self, call: Call[Result], timeout: float | None = None) -> Result:
        self.before(call.command)
        for _ in range(self.ways):
            await asyncio.sleep(0)
        found = self.carry_out(call)
        changed, self.changed = self.changed, []
        for future in changed:
            if not future.done():
                future.set_result(None)
        for _ in range(self.ways):
            await asyncio.sleep(0)
        self.after(call.command)
        return found

    def watch(self, prefix: str) -> Any:
        return AioWatch(self, prefix)

    def lock(self, name: str = "nightly", on_lost: Any = None) -> AioLock:
        return AioLock(
            self, self.keeper, self.watch, LockKeys(LOCKS, name), self.ttl, on_lost, "program"
        )

    def shared_lock(self) -> AioLock:
        keys = SharedKeys("nightly")
        return AioLock(self, self.keeper, self.watch, keys, self.ttl, None, "program")

    def semaphore(self, limit: int) -> AioSemaphore:
        keys = Slots("reports", limit)
        return AioSemaphore(self, self.keeper, self.watch, keys, self.ttl, None, "program")

    def election(self, name: str = "service") -> AioElection[str]:
        return AioElection(self, self.keeper, self.watch, LockKeys(ELECTIONS, name), self.ttl)


class AioWatch(Followed):
    """A watch that a task reads."""

    def __init__(self, cluster: AioCluster, prefix: str) -> None:
        super().__init__(cluster, prefix)
        self._cluster = cluster

    async def _step(self, until_s: float | None = None) -> bool:
        while not self.takes():
            left_s = None if until_s is None else until_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                return False
            change = asyncio.get_running_loop().create_future()
            self._cluster.changed.append(change)
            await asyncio.wait([change], timeout=left_s)
        return True

    def close(self) -> None:
        self._is_closed = True


def keeps_on(cluster: Cluster | AioCluster) -> None:
    """Do what the keeper does: repeat what was not answered."""
    for timer in cluster.keeper.hurried:  # type: ignore[union-attr]
        for command in timer.unanswered():
            cluster.carry_out(Call(command, str))
            timer.answered(command)
