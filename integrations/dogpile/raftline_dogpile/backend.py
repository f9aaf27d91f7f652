"""The backend: values are bytes below one prefix, each with a time if it is given, and a mutex is a
lock of the cluster."""

from __future__ import annotations

import contextlib
import functools
import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from dogpile.cache.api import NO_VALUE, BytesBackend, CantDeserializeException
from dogpile.cache.api import CacheMutex as Mutex

import raftline
from raftline.errors import OtherCluster

LOCK_S = 30
Method = TypeVar("Method", bound=Callable[..., Any])


def following(method: Method) -> Method:
    """Connect again, and repeat a call, if the cluster was restored, recovered or begun again."""

    @functools.wraps(method)
    def wrapper(self: RaftlineBackend, *args: Any) -> Any:
        kv = self._kv
        try:
            return method(self, *args)
        except OtherCluster:
            if not self._follow(kv):
                raise
            return method(self, *args)

    return wrapper  # type: ignore[return-value]


def to_json(value: Any) -> bytes:
    """Return a value as JSON."""
    return json.dumps(value).encode()


def from_json(data: bytes) -> Any:
    """Return the value; one that is not JSON counts as missing, so it is computed again."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CantDeserializeException from error


class LockMutex(Mutex):
    """A lock of the cluster, as a region asks for it."""

    def __init__(self, lock: raftline.api.Lock) -> None:
        self._lock = lock
        self._held: deque[raftline.api.Held] = deque()  # a second one only if the first was lost

    def acquire(self, wait: bool = True) -> bool:
        """Get it; without `wait` return at once whether it was got."""
        held = self._lock.acquire(wait)
        if held is not None:
            self._held.append(held)
        return held is not None

    def release(self) -> None:
        """Release it. If it was lost, somebody else computes the value, too: no harm is done."""
        with contextlib.suppress(raftline.LeaseLost):
            self._held.popleft().release()

    def locked(self) -> bool:
        """Return whether somebody has it."""
        return self._lock.holder() is not None


class RaftlineBackend(BytesBackend):
    """Values that all programs of a cluster share.

    Arguments of `configure(..., arguments={...})`, all of which may be left out:

    * `at`, `user`, `password`, `tls`, `timeout`: as of `raftline.connect`
    * `kv`: a client in their place
    * `prefix`: of the keys ("dogpile/")
    * `expiration_time`: seconds after which a value goes by itself
    * `distributed_lock`: one creator for all programs; else one for each process
    * `lock_timeout`: seconds after which the lock of a program that died is free (30)
    * `serializer`: "json", or "pickle", which lets a writer of keys run code here ("pickle")
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        serializer = arguments.get("serializer", "pickle")
        if serializer not in ("json", "pickle"):
            raise ValueError(f'serializer is "json" or "pickle", and not {serializer!r}')
        if serializer == "json":
            self.serializer, self.deserializer = to_json, from_json
        options = {name: arguments[name] for name in OPTIONS if name in arguments}
        self._connect = functools.partial(raftline.connect, name="dogpile", **options)
        kv: raftline.KV[str] | raftline.KV[bytes] | None = arguments.get("kv")
        self._is_own = kv is None
        self._kv: raftline.KV[bytes] = (self._connect() if kv is None else kv).binary
        self._following = threading.Lock()
        self._prefix = str(arguments.get("prefix", "dogpile/"))
        self._ttl_s: int | None = arguments.get("expiration_time")
        self._is_distributed = bool(arguments.get("distributed_lock", False))
        self._lock_s = int(arguments.get("lock_timeout", LOCK_S))

    def _follow(self, before: raftline.KV[bytes]) -> bool:
        """Replace a client whose cluster is gone; return whether there is another one. A client
        that a program made is the program's to replace."""
        with self._following:
            if self._is_own and self._kv is before:
                self._kv = self._connect().binary
                before.close()
            return self._kv is not before

    def _key(self, key: str) -> bytes:
        return f"{self._prefix}{key}".encode("utf-8", "surrogateescape")

    def get_mutex(self, key: str) -> LockMutex | None:
        """Return the lock of a key; None: the region takes one of its process."""
        if not self._is_distributed:
            return None
        return LockMutex(self._kv.lock(f"{self._prefix}{key}", ttl=self._lock_s))

    @following
    def get_serialized(self, key: str) -> Any:
        """Return the value of a key, else NO_VALUE."""
        return self._kv.get(self._key(key), NO_VALUE)

    @following
    def get_serialized_multi(self, keys: Iterable[str]) -> list[Any]:
        """Return the values of keys, all asked for at once."""
        asked = [self._key(key) for key in keys]
        found = self._kv.get_many(asked)
        return [found.get(key, NO_VALUE) for key in asked]

    @following
    def set_serialized(self, key: str, value: bytes) -> None:
        """Set a key."""
        self._kv.set(self._key(key), value, ttl=self._ttl_s)

    @following
    def set_serialized_multi(self, mapping: Mapping[str, bytes]) -> None:
        """Set keys, all at once."""
        with self._kv.pipeline() as batch:
            for key, value in mapping.items():
                batch.set(self._key(key), value, ttl=self._ttl_s)

    @following
    def delete(self, key: str) -> None:
        """Delete a key, if it is there."""
        self._kv.delete(self._key(key))

    @following
    def delete_multi(self, keys: Iterable[str]) -> None:
        """Delete keys, all at once."""
        with self._kv.pipeline() as batch:
            for key in keys:
                batch.delete(self._key(key))


OPTIONS = ("at", "user", "password", "tls", "timeout")
