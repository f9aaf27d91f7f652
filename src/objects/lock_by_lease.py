"""A replicated lock of a cluster at level 2: its key is under a lease of the holder, and goes with
it.

It shares leases and tokens with `kv.lock()`. The key holds the object that level 1 knows, so
programs of an older version see it held. The time in that object is too long for them to seize it.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any, TypeVar

from raftline.clients.connection import ClientError, Refused
from raftline.clients.pool import TIMEOUT_S
from raftline.kv.calls import CALLS, Call
from raftline.kv.contest import take_if_unchanged, token_in
from raftline.kv.errors import LeaseLost
from raftline.kv.lease import Keeper, Lease
from raftline.wire.strictjson import Json, spell_json

FOREVER_MS = 10**15  # added to the milliseconds of a lease, as no beat ever comes
_LOW_LEVEL = ("low-level", "not-understood")  # a node's refusals below level 2
Result = TypeVar("Result")


class Asking:
    """The transport of leases, by the requests of an object."""

    def __init__(self, asker: Any, timeout: float | None) -> None:
        self._asker = asker
        self._timeout = timeout

    @property
    def timeout(self) -> float:
        """The seconds for which an end waits for a renewal under way."""
        return TIMEOUT_S if self._timeout is None else self._timeout

    def ask(self, call: Call[Result], timeout: float | None = None) -> Result:
        """Carry out a call, and return what its reply means."""
        limit_s = self._timeout if timeout is None else timeout
        try:
            text = self._asker.request(call.command, limit_s)
        except Refused as refusal:
            raise call.failure(refusal) from None
        return call.read(text)


class LockLease:
    """The lease of an attempt to get a lock; granted once the lock may be free."""

    def __init__(self, asking: Asking, keeper: Keeper, lease_s: float) -> None:
        self._asking = asking
        self._keeper = keeper
        self._seconds = max(1, math.ceil(lease_s))
        self._lease: Lease | None = None
        self._is_level_1 = False

    def has_lease(self) -> bool:
        """Get a lease unless there is one; return False if the cluster is below level 2."""
        if self._is_level_1:
            return False
        if self._lease is None or not self._lease.is_held:
            self._drop()
            try:
                self._lease = Lease(self._asking, self._keeper, self._seconds).grant()
            except Refused as refusal:
                if refusal.code not in _LOW_LEVEL:
                    raise
                self._is_level_1 = True
                return False
        return True

    def take(self, key: str, found: str | None, owner: str) -> tuple[Lease, int] | None:
        """Take the lock if its key is still as it was found; return the lease and the token."""
        lease = self._lease
        assert lease is not None
        lease_ms = FOREVER_MS + 1000 * self._seconds
        held = {"owner": owner, "token": 0, "lease_ms": lease_ms, "beat": 0}
        try:
            token = token_in(
                self._asking.ask(take_if_unchanged(key, found, lease.id, spell_json(held)))
            )
        except LeaseLost:
            return None
        if token is None:
            return None
        self._lease = None  # it belongs to the holding now
        return lease, token

    def _drop(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            with contextlib.suppress(ClientError, RuntimeError):  # it runs out
                lease.release()

    def end(self) -> None:
        """Give back a lease that got no lock."""
        self._drop()


def is_by_lease(held: dict[str, Json]) -> bool:
    """Whether a holder's key is under a lease, so that its beats do not count."""
    return int(held["lease_ms"]) >= FOREVER_MS


def holder_of(asking: Asking, key: str, held: dict[str, Json]) -> dict[str, Json] | None:
    """Return a holder with its token and its time; None if the key is gone. The token is the
    index of the entry that set the key, which no entry can hold itself."""
    stat = asking.ask(CALLS.stat(key))
    if stat is None:
        return None
    return {**held, "token": stat.index, "lease_ms": int(held["lease_ms"]) - FOREVER_MS}
