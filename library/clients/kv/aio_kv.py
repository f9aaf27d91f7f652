"""`AioKV`: the cluster's keys and values for asyncio."""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, overload

from raftline.common.errors import RaftlineError
from raftline.common.public import public

from ..asyncio.asker import AioAsker
from ..calls.administration import AdminCalls
from ..calls.calls import Call, CallFactory, Page, Version
from ..calls.listeners import LoopListeners
from ..calls.methods import of_tasks
from ..calls.pipeline import AioPipeline, reads_of, values_of
from ..calls.transaction import Outcome, Transaction, updates
from ..calls.value_codec import BINARY, Codec, Data
from ..connections.node_connection import ClientError, TimedOut
from ..leases.aio_lease import AioKeeper, AioLease
from ..leases.gates import Gates
from ..requests.backup_copy import Backup, fetch_file
from ..requests.health import ClientHealth
from ..requests.pool import time_limit
from ..requests.times import Seconds
from ..steps import carry_out_awaiting
from ..watches.aio_watch import AioWatch
from ..watches.watch_events import KVSnapshot, WatchCursor
from .base_kv import BaseKV
from .cached import AioCached
from .kv import NONE
from .members import AioMembers
from .users import AioUsers

Result = TypeVar("Result")
Default = TypeVar("Default")
Watched = TypeVar("Watched")


class _AioShared:
    """The parts that a client shares with its views, which have other time limits."""

    def __init__(self, health: ClientHealth) -> None:
        self.listeners = LoopListeners(health)
        self.watches: weakref.WeakSet[AioWatch[Any]] = weakref.WeakSet()
        self.keeper: AioKeeper | None = None
        self.gates = Gates()


class TaskTransport:
    """Carries out the calls of one client, each within its time limit."""

    def __init__(self, asker: AioAsker, gates: Gates, timeout: float) -> None:
        self._asker = asker
        self.gates = gates
        self.timeout = timeout

    @property
    def was_served(self) -> bool:
        """Whether a node has ever served this client."""
        return self._asker.addresses.health.was_served

    async def request(self, command: str, timeout: Seconds | None = None) -> str:
        """Return the text of the reply to a line."""
        limit_s = self.timeout if timeout is None else time_limit(timeout)
        return await self._asker.request(command, limit_s)

    def send_off(self, command: str, settled: Callable[[str | None], object]) -> bool:
        """Send a request whose answer is not awaited, if the connection is there; return whether it
        was sent. `settled` gets the text of the answer later, None if there is none."""
        return self._asker.send_off(command, settled)

    async def request_together(self, commands: Sequence[str]) -> list[str | ClientError]:
        """Return the text of each reply, or its error; all requests are in flight at once."""
        return await self._asker.request_together(commands, self.timeout)

    async def ask(self, call: Call[Result], timeout: Seconds | None = None) -> Result:
        """Carry out a call, and return the result that its reply stands for."""
        try:
            return call.read(await self.request(call.command, timeout))
        except RaftlineError as error:
            raise call.failure(error) from None


@public("raftline.aio", "KV")
class AioKV(BaseKV[Data, AioLease]):
    """The keys and values of a cluster, for the tasks of one event loop.

    `raftline.aio.connect()` makes one. All requests share one connection, on which each request is
    a line in flight. The methods are the coroutine versions of the methods of `raftline.KV`, with
    the same errors. A task that is cancelled during a write does not know whether the write took
    effect.
    """

    _called = "raftline.aio.KV"
    _lease_class = AioLease
    _transport: TaskTransport
    _shared: _AioShared

    def __init__(
        self,
        asker: AioAsker,
        codec: Codec[Data],
        timeout: Seconds | None = None,
        shared: _AioShared | None = None,
    ) -> None:
        limit_s = asker.timeout_s if timeout is None else timeout
        super().__init__(codec, limit_s, asker.name, asker.addresses)
        self._asker = asker
        self._is_view = shared is not None
        self._shared = shared or _AioShared(asker.addresses.health)
        self._transport = TaskTransport(asker, self._shared.gates, self._timeout)
        self._ask = self._transport.ask

    async def __aenter__(self) -> AioKV[Data]:
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self._is_view:
            await self.close()

    def within(self, timeout: Seconds) -> AioKV[Data]:
        """Return this client with another time limit: `await kv.within(0.5).get("a")`."""
        return type(self)(self._asker, self._codec, timeout, self._shared)

    @property
    def binary(self) -> AioKV[bytes]:
        """This client with keys and values that are bytes: `await kv.binary.get(b"a")`."""
        kind: type[AioKV[Any]] = type(self)
        return kind(self._asker, BINARY, self._timeout, self._shared)

    @property
    def _is_closed(self) -> bool:
        return self._asker.is_closed

    async def close(self) -> None:
        """End the connection, watches and tasks; see `raftline.KV.close`. Leases that are not
        released expire."""
        if not self._asker.is_here:  # they belong to the process that forked
            self._asker.is_closed = True
            return
        is_orphan = self._asker.outlived_its_loop()
        self._asker.is_closed = True  # first, so that waiters at a watch see it
        if is_orphan:  # its tasks have ended with it
            self._asker.abandon()
            self._shared.listeners.close()
            return
        watches = list(self._shared.watches)
        for watch in watches:
            watch.close()
        tasks = {watch._task for watch in watches if watch._task} - {asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks)
        keeper = self._shared.keeper
        await self._asker.close(last=[] if keeper is None else await keeper.close())
        self._shared.listeners.close()

    async def connect_again(self) -> AioKV[Data]:
        """Close this client, and return another; see `raftline.KV.connect_again`."""
        await self.close()
        return type(self)(self._asker.again(), self._codec, self._timeout)

    # --- requests -------------------------------------------------------------------------------

    async def request(self, command: str, timeout: Seconds | None = None) -> str:
        """Return the text of the reply to a typed line."""
        return await self._ask(Call(command, str), timeout)

    @overload
    async def get(self, key: Data) -> Data | None: ...
    @overload
    async def get(self, key: Data, default: Data | Default) -> Data | Default: ...
    async def get(self, key: Data, default: object = None) -> object:
        """Return the value of a key, or `default` if it is absent."""
        value = await self._ask(self._calls.get(key))
        return default if value is None else value

    set = of_tasks(CallFactory[Data].set)
    setnx = of_tasks(CallFactory[Data].setnx)

    async def setdefault(self, key: Data, default: Data) -> Data:
        """Return the value of a key. If it is absent, first set it to `default`, in one step."""
        while not await self.setnx(key, default):
            value = await self.get(key)
            if value is not None:
                return value
        return default

    cas = of_tasks(CallFactory[Data].cas)
    incr = of_tasks(CallFactory[Data].incr)
    append = of_tasks(CallFactory[Data].append)
    delete = of_tasks(CallFactory[Data].delete)

    @overload
    async def pop(self, key: Data) -> Data: ...
    @overload
    async def pop(self, key: Data, default: Data | Default) -> Data | Default: ...
    async def pop(self, key: Data, default: object = NONE) -> object:
        """Remove a key and return its value, in one step; return `default` if it is absent. Raises
        KeyError if it is absent and no default is given."""
        value = await self._ask(self._calls.pop(key))
        if value is None and default is NONE:
            raise KeyError(key)
        return default if value is None else value

    async def popitem(self, prefix: Data | None = None) -> tuple[Data, Data]:
        """Remove the first key, or the first under a prefix if one is given, and return it with its
        value. Raises KeyError if there is no key."""
        return await carry_out_awaiting(self._calls.popped_item(prefix), self._ask)

    async def update(
        self,
        pairs: Mapping[Data, Data] | Iterable[tuple[Data, Data]] = (),
        /,
        *,
        ttl: Seconds | None = None,
        **named: Data,
    ) -> None:
        """Set all pairs of a mapping or an iterable, for `ttl` seconds if that is given; see
        `raftline.KV.update`."""
        async with self.pipeline() as steps:
            for call in updates(self._codec, pairs, named, ttl):
                steps._add(call)

    stat = of_tasks(CallFactory[Data].stat)
    read = of_tasks(CallFactory[Data].read)
    exists = of_tasks(CallFactory[Data].exists)
    ttl = of_tasks(CallFactory[Data].ttl)
    expire = of_tasks(CallFactory[Data].expire)
    persist = of_tasks(CallFactory[Data].persist)

    # --- administration -------------------------------------------------------------------------

    status = of_tasks(AdminCalls.status)
    transfer = of_tasks(AdminCalls.transfer)

    @property
    def members(self) -> AioMembers:
        """The members of the cluster: `await kv.members()` lists them; see
        `raftline.KV.members`."""
        return AioMembers(self._ask)

    @property
    def users(self) -> AioUsers:
        """The users and roles of the cluster: `await kv.users.list()` returns them; see
        `raftline.KV.users`."""
        return AioUsers(self._ask)

    async def ping(self, key: Data | None = None) -> float:
        """Confirm that the cluster serves; return the seconds that it took. See
        `raftline.KV.ping`."""
        begun_s = time.monotonic()
        await self.exists(self._codec.of("ping") if key is None else key)
        return time.monotonic() - begun_s

    async def backup(self, file: str | os.PathLike[str]) -> Backup:
        """Write the state of the cluster into a new file, in a thread; see `raftline.KV.backup`. If
        the task is cancelled, there is no file."""
        client = self._asker.apart(self._timeout)
        try:
            return await asyncio.to_thread(fetch_file, client, file)
        finally:
            client.close()  # ends the thread of a cancelled task

    # --- several keys ---------------------------------------------------------------------------

    def txn(self) -> Transaction[Data, Awaitable[Outcome[Data]]]:
        """Return a transaction to build; await its `commit()`."""
        return Transaction(self._codec, self._ask)

    def pipeline(self) -> AioPipeline[Data]:
        """Return a pipeline: `async with kv.pipeline() as batch: batch.set("a", "1")` sends all
        requests of the block at once."""
        return AioPipeline(self._codec, self._transport.request_together)

    async def get_many(self, keys: Iterable[Data]) -> dict[Data, Data]:
        """Return the keys among these that exist, with their values."""
        async with self.pipeline() as batch:
            reads = reads_of(keys, batch.get)
        return values_of(reads)

    async def read_many(self, keys: Iterable[Data]) -> dict[Data, Version[Data]]:
        """Return each of these keys with its value and index; see `raftline.KV.read_many`."""
        async with self.pipeline() as batch:
            reads = reads_of(keys, batch.read)
        return {key: pending.result() for key, pending in reads.items()}

    def items(self, prefix: Data | None = None) -> AsyncIterator[tuple[Data, Data]]:
        """Yield the pairs in the order of their keys, restricted to a prefix if one is given. Each
        page of a thousand pairs shows one moment; the store may change between two pages."""
        return self._pages(lambda after: self._calls.page(prefix, after))

    def read_items(self, prefix: Data | None = None) -> AsyncIterator[tuple[Data, Version[Data]]]:
        """Yield each key with its value and the index of its last change; see `items`."""
        return self._pages(lambda after: self._calls.versions_page(prefix, after))

    async def _pages(self, request: Callable[[str], Call[Page[Result]]]) -> AsyncIterator[Result]:
        after = ""
        while True:
            page = await self._ask(request(after))
            for pair in page.pairs:
                yield pair
            if page.is_last:
                return
            after = page.after

    async def keys(self, prefix: Data | None = None) -> AsyncIterator[Data]:
        """Yield the keys in order, restricted to a prefix if one is given."""
        async for key, _ in self.items(prefix):
            yield key

    async def values(self, prefix: Data | None = None) -> AsyncIterator[Data]:
        """Yield the values, restricted to a prefix if one is given."""
        async for _, value in self.items(prefix):
            yield value

    async def clear(self, prefix: Data) -> int:
        """Delete all keys under a prefix, in one entry; return their number."""
        return await self._ask(self._calls.clear(prefix))

    # --- watches, leases -----------------------------------------------------------------------

    def watch(self, prefix: Data | None = None, *, after: int | None = None) -> AioWatch[Data]:
        """Return an async iterator over the events under a prefix: first each existing key, then
        each change; see `raftline.KV.watch`."""
        return self._watching(WatchCursor(self._codec, prefix, after))

    def _watching(self, cursor: WatchCursor[Watched]) -> AioWatch[Watched]:
        watch = AioWatch(self._asker, cursor, self._timeout)
        self._shared.watches.add(watch)
        return watch

    def cached(self, prefix: Data | None = None) -> AioCached[Data]:
        """Return the pairs under a prefix as a mapping in memory that a watch keeps:
        `async with kv.cached("app/") as cache`."""
        return AioCached(self.watch(prefix), prefix, self._timeout)

    @property
    def _keeper(self) -> AioKeeper:
        if self._shared.keeper is None:
            self._shared.keeper = AioKeeper(self._transport)
        return self._shared.keeper

    async def snapshot(self, prefix: Data | None = None) -> KVSnapshot[Data]:
        """Return all pairs under a prefix at one entry; see `raftline.KV.snapshot`."""
        until_s = time.monotonic() + self._timeout
        async with self.watch(prefix) as watch:
            while not watch.is_listed:
                if not await watch._step(until_s):
                    raise TimedOut(f"not all keys arrived within {self._timeout:g} s")
            snapshot = KVSnapshot._of(watch.position, watch._take_ready())
        if not snapshot.pairs:
            return snapshot
        return snapshot._with_indices([each async for each in self.read_items(prefix)])
