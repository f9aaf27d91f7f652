"""`KV`: the cluster's keys and values as a mapping, for the threads of a program."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, TypeVar, overload

from raftline.common.public import public

from ..calls.administration import AdminCalls
from ..calls.calls import Call, CallFactory, Page, Version
from ..calls.methods import of_threads
from ..calls.pipeline import Pipeline, reads_of, values_of
from ..calls.transaction import Outcome, Transaction, updates
from ..calls.value_codec import BINARY, Codec, Data
from ..connections.node_connection import TimedOut
from ..leases.lease import Keeper, Lease
from ..requests.backup_copy import Backup, fetch_file
from ..requests.pool import Clients
from ..requests.times import Seconds
from ..steps import carry_out
from ..watches.watch import Watch
from ..watches.watch_events import KVSnapshot, WatchCursor
from .base_kv import BaseKV
from .cached import Cached
from .members import Members
from .shared import Shared, ThreadTransport
from .users import Users

Default = TypeVar("Default")
Result = TypeVar("Result")
NONE = object()


@public("raftline")
class KV(BaseKV[Data, Lease], MutableMapping[Data, Data]):
    """The keys and values of a cluster; `raftline.connect()` makes one. Any thread may use it.

    Reads are linearizable: they see every write that was acknowledged before they began. A write
    takes effect once, even if it is sent again.

    Raises, from any method:
        Refused, NoLeader, Unreachable: nothing was done, for certain.
        OutcomeUnknown: the write may or may not take effect.
        TypeError, ValueError: a key or a value is invalid; nothing was sent.
    """

    _lease_class = Lease
    _transport: ThreadTransport
    _shared: Shared

    def __init__(
        self,
        clients: Clients,
        codec: Codec[Data],
        timeout: Seconds | None = None,
        shared: Shared | None = None,
    ) -> None:
        limit_s = clients.timeout if timeout is None else timeout
        super().__init__(codec, limit_s, clients.name, clients.addresses)
        self._is_view = shared is not None
        self._shared = shared or Shared(clients)
        self._transport = ThreadTransport(self._shared, self._timeout)
        self._ask = self._transport.ask

    __eq__ = object.__eq__  # compared by identity
    __hash__ = object.__hash__

    def __enter__(self) -> KV[Data]:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_view:
            self.close()

    def within(self, timeout: Seconds) -> KV[Data]:
        """Return this client with another time limit: `kv.within(0.5).get("a")`."""
        return type(self)(self._shared.clients, self._codec, timeout, self._shared)

    @property
    def binary(self) -> KV[bytes]:
        """This client with keys and values that are bytes: `kv.binary.get(b"a")`."""
        kind: type[KV[Any]] = type(self)
        return kind(self._shared.clients, BINARY, self._timeout, self._shared)

    @property
    def _is_closed(self) -> bool:
        return self._shared.is_closed

    def close(self) -> None:
        """End all connections, watches and threads. A call that waits for a lock or a job gives
        up its place, for which this waits half a second at most. Leases that are not released
        expire."""
        self._shared.close()

    def connect_again(self) -> KV[Data]:
        """Close this client, and return one with the same options and nodes for the cluster that
        they are part of now, after `OtherCluster`. Locks, watches and versions of the earlier
        cluster do not count there."""
        clients = self._shared.clients
        self.close()
        return type(self)(clients.again(), self._codec, self._timeout)

    # --- requests -------------------------------------------------------------------------------

    def request(self, command: str, timeout: Seconds | None = None) -> str:
        """Return the text of the reply to a typed line; replicated objects use this."""
        return self._ask(Call(command, str), timeout)

    @overload
    def get(self, key: Data) -> Data | None: ...
    @overload
    def get(self, key: Data, default: Data | Default) -> Data | Default: ...
    def get(self, key: Data, default: object = None) -> object:
        """Return the value of a key, or `default` if it is absent."""
        value = self._ask(self._calls.get(key))
        return default if value is None else value

    set = of_threads(CallFactory[Data].set)
    setnx = of_threads(CallFactory[Data].setnx)
    cas = of_threads(CallFactory[Data].cas)
    incr = of_threads(CallFactory[Data].incr)
    append = of_threads(CallFactory[Data].append)
    delete = of_threads(CallFactory[Data].delete)
    stat = of_threads(CallFactory[Data].stat)
    read = of_threads(CallFactory[Data].read)
    exists = of_threads(CallFactory[Data].exists)
    ttl = of_threads(CallFactory[Data].ttl)
    expire = of_threads(CallFactory[Data].expire)
    persist = of_threads(CallFactory[Data].persist)

    # --- administration -------------------------------------------------------------------------

    status = of_threads(AdminCalls.status)
    transfer = of_threads(AdminCalls.transfer)

    @property
    def members(self) -> Members:
        """The members of the cluster: `kv.members()` lists them, and `add`, `remove`, `replace`,
        `promote` and `demote` change them."""
        return Members(self._ask)

    @property
    def users(self) -> Users:
        """The users and roles of the cluster: `kv.users.list()` returns them, and `add`, `remove`,
        `grant`, `revoke` and others change them."""
        return Users(self._ask)

    def ping(self, key: Data | None = None) -> float:
        """Confirm that the cluster serves; return the seconds that it took. This is a read of one
        key, "ping" by default, which need not exist."""
        begun_s = time.monotonic()
        self.exists(self._codec.of("ping") if key is None else key)
        return time.monotonic() - begun_s

    def backup(self, file: str | os.PathLike[str]) -> Backup:
        """Write the state of the cluster into a new file, for `raftline restore`. Each request for
        a piece of it has the time limit of the client.

        Raises:
            FileExistsError: the file exists. OSError: it can't be written.
        """
        return fetch_file(self._shared.clients.apart(self._timeout), file)

    # --- several keys ---------------------------------------------------------------------------

    def txn(self) -> Transaction[Data, Outcome[Data]]:
        """Return a transaction to build: several keys in one step, all or nothing."""
        return Transaction(self._codec, self._ask)

    def pipeline(self) -> Pipeline[Data]:
        """Return a pipeline: `with kv.pipeline() as batch: batch.set("a", "1")` sends all requests
        of the block at once."""
        return Pipeline(self._codec, self._transport.request_together)

    def get_many(self, keys: Iterable[Data]) -> dict[Data, Data]:
        """Return the keys among these that exist, with their values. All reads are sent at once,
        and each key is read separately."""
        with self.pipeline() as batch:
            reads = reads_of(keys, batch.get)
        return values_of(reads)

    def read_many(self, keys: Iterable[Data]) -> dict[Data, Version[Data]]:
        """Return each of these keys with its value and index; see `read`. All reads are sent at
        once."""
        with self.pipeline() as batch:
            reads = reads_of(keys, batch.read)
        return {key: pending.result() for key, pending in reads.items()}

    # --- a mapping ------------------------------------------------------------------------------

    def __getitem__(self, key: Data) -> Data:
        value = self._ask(self._calls.get(key))
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: Data, value: Data) -> None:
        self._ask(self._calls.set(key, value))

    def __delitem__(self, key: Data) -> None:
        if not self._ask(self._calls.delete(key)):
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return self._codec.can_be_key(key) and self.get(key) is not None  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Data]:
        return self.keys()

    def __len__(self) -> int:
        return sum(1 for _ in self.items())

    def __bool__(self) -> bool:
        return any(True for _ in self.items())  # one page

    @overload
    def pop(self, key: Data) -> Data: ...
    @overload
    def pop(self, key: Data, default: Data | Default) -> Data | Default: ...
    def pop(self, key: Data, default: object = NONE) -> object:
        """Remove a key and return its value, in one step."""
        value = self._ask(self._calls.pop(key))
        if value is None and default is NONE:
            raise KeyError(key)
        return default if value is None else value

    def popitem(self, prefix: Data | None = None) -> tuple[Data, Data]:
        """Remove the first key, or the first under a prefix if one is given, and return it with its
        value, in one step. Raises KeyError if there is no key."""
        return carry_out(self._calls.popped_item(prefix), self._ask)

    def update(  # type: ignore[override]
        self,
        pairs: Mapping[Data, Data] | Iterable[tuple[Data, Data]] = (),
        /,
        *,
        ttl: Seconds | None = None,
        **named: Data,
    ) -> None:
        """Set all pairs of a mapping or an iterable, for `ttl` seconds if that is given. Up to 128
        pairs, of a megabyte in all, are set in one step. More pairs take several steps, which are
        in flight together: if one fails, others may be done."""
        with self.pipeline() as steps:
            for call in updates(self._codec, pairs, named, ttl):
                steps._add(call)

    def setdefault(self, key: Data, default: Data | None = None) -> Data:
        """Return the value of a key. If it is absent, first set it to `default`, in one step."""
        if default is None:
            raise TypeError("a key can't have the value None; give a default")
        while not self.setnx(key, default):
            value = self.get(key)
            if value is not None:
                return value
        return default

    def items(  # type: ignore[override]
        self, prefix: Data | None = None
    ) -> Iterator[tuple[Data, Data]]:
        """Yield the pairs in the order of their keys, restricted to a prefix if one is given. Each
        page of a thousand pairs shows one moment; the store may change between two pages."""
        return self._pages(lambda after: self._calls.page(prefix, after))

    def read_items(self, prefix: Data | None = None) -> Iterator[tuple[Data, Version[Data]]]:
        """Yield each key with its value and the index of its last change, in the order and the
        pages of `items`."""
        return self._pages(lambda after: self._calls.versions_page(prefix, after))

    def _pages(self, request: Callable[[str], Call[Page[Result]]]) -> Iterator[Result]:
        after = ""
        while True:
            page = self._ask(request(after))
            yield from page.pairs
            if page.is_last:
                return
            after = page.after

    def keys(self, prefix: Data | None = None) -> Iterator[Data]:  # type: ignore[override]
        """Yield the keys in order, restricted to a prefix if one is given."""
        for key, _ in self.items(prefix):
            yield key

    def values(self, prefix: Data | None = None) -> Iterator[Data]:  # type: ignore[override]
        """Yield the values, restricted to a prefix if one is given."""
        for _, value in self.items(prefix):
            yield value

    def clear(self, prefix: Data | None = None) -> int:  # type: ignore[override]
        """Delete all keys under a prefix, in one entry; return their number. Without a prefix, it
        raises TypeError, so that nobody deletes all keys of a cluster by accident."""
        if prefix is None:
            raise TypeError("kv.clear() would delete every key of the cluster: give a prefix")
        return self._ask(self._calls.clear(prefix))

    # --- watches, leases -----------------------------------------------------------------------

    def watch(self, prefix: Data | None = None, *, after: int | None = None) -> Watch[Data]:
        """Return an iterator over the events under a prefix: first each existing key, then each
        change. With `after`, return only the changes after that index.

        The watch moves to another node when its node dies. If the events since then are gone, it
        returns the differences from the known keys as events. So a loop sees every final state, and
        may miss states in between.
        """
        return self._shared.watch(WatchCursor(self._codec, prefix, after), self._timeout)

    def cached(self, prefix: Data | None = None) -> Cached[Data]:
        """Return the pairs under a prefix as a mapping in memory that a watch keeps:
        `with kv.cached("app/") as cache`."""
        return Cached(self.watch(prefix), prefix, self._timeout)

    @property
    def _keeper(self) -> Keeper:
        shared = self._shared
        with shared.lock:
            if shared.keeper is None:
                transport = ThreadTransport(shared, shared.clients.timeout)
                shared.keeper = Keeper(transport, self.name)
            return shared.keeper

    def snapshot(self, prefix: Data | None = None) -> KVSnapshot[Data]:
        """Return all pairs under a prefix at one entry, and the index of that entry: a watch with
        `after` continues there. Raises TimedOut if they did not arrive within the time of a
        call."""
        until_s = time.monotonic() + self._timeout
        with self.watch(prefix) as watch:
            while not watch.is_listed:
                if not watch._step(until_s):
                    raise TimedOut(f"not all keys arrived within {self._timeout:g} s")
            snapshot = KVSnapshot._of(watch.position, watch._take_ready())
        return snapshot._with_indices(self.read_items(prefix) if snapshot.pairs else ())
