"""`ReplicatedLock`: one holder at a time across programs, and a token that exposes late ones.

In a cluster at level 2 the lock is held by a lease (`lock_by_lease.py`), which expires.
At level 1 it is held by beats. No clock decides anything that is replicated. The holder's `beat`
grows in the log while it lives. A waiter measures by its own clock how long the beat stands still.
After a whole lease it takes the lock by compare-and-set: `lock.seize` does nothing if the beat
moved after all. The holder counts from *before* it asked for its last beat, the waiter from
*after* it saw that. So with clocks of about equal speed the holder notices first. A process that
was paused does not notice. For that there is the token: the number of the log entry that granted
the lock, higher for each later holder. The guarded resource refuses a token below the highest that
it has seen.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from raftline.clients.connection import ClientError
from raftline.kv.errors import LeaseLost
from raftline.kv.lease import Keeper, Lease
from raftline.objects.base import Asker, LockLost, NotDone, ReplicatedObject
from raftline.objects.lock_by_lease import Asking, LockLease, holder_of, is_by_lease
from raftline.objects.waiting import Waiting
from raftline.wire.strictjson import Json

LEASE_S = 10.0
MARGIN = 1.25  # leases that a waiter waits: clocks differ in speed
BEATS = 4  # per lease


@dataclass
class _Holding:
    """One time of holding the lock, and its certain end, by the clock or by the lease."""

    owner: str
    token: int
    until_s: float
    over: threading.Event
    lease: Lease | None = None

    @property
    def is_certain(self) -> bool:
        """Whether it is held as far as this program's clock shows."""
        in_time = self.until_s > 0 if self.lease else time.monotonic() < self.until_s
        return in_time and (self.lease is None or self.lease.is_held)


class _LocalState:
    """The lock's state in this process, shared by all objects that `within` returned."""

    def __init__(self) -> None:
        self.watch = _BeatAge()  # kept between tries, so that short ones add up
        self.begin_anew()

    def begin_anew(self) -> None:
        self.process = os.getpid()  # a forked child does not hold its parent's lock
        self.turn = threading.Lock()  # the program's threads queue here, without the cluster
        self.holding: _Holding | None = None
        self._keeper: Keeper | None = None

    def keeper(self, asking: Asking, name: str) -> Keeper:
        """Return the keeper of this lock's leases."""
        if self._keeper is None:
            self._keeper = Keeper(asking, name)
        return self._keeper


class ReplicatedLock(ReplicatedObject):
    """As threading.Lock, for all programs of the cluster: `acquire`, `release`, `with`.

    Not reentrant, and not fair. While it is held, a thread renews it four times in a lease.
    Send `token` to the resource that the lock guards. Call `check()` before a step that must
    not be made without the lock.
    """

    kind = "lock"

    def __init__(
        self, name: str, node: Asker, *, lease: float = LEASE_S, timeout: float | None = None
    ) -> None:
        """Name the lock. After a holder died it is free in `lease` seconds and a quarter (level 2:
        whole seconds and a tenth)."""
        super().__init__(name, node, timeout=timeout)
        if not 0.1 <= lease <= 86_400:
            raise ValueError("a lease lasts from 0.1 seconds to a day")
        self._lease_s = lease
        self._shared = _LocalState()

    @property
    def _local(self) -> _LocalState:
        if self._shared.process != os.getpid():
            self._shared.begin_anew()
        return self._shared

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Get the lock, waiting for it at most `timeout` seconds; return whether it was got.

        At level 2 one try is enough if the holder died and its time is over. At level 1 an
        object notices that only after a lease and a quarter, in one wait or in several tries.

        Raises:
            OutcomeUnknown: it may have been got or not; if so, it is free again after a lease.
        """
        if timeout != -1 and not blocking:
            raise ValueError("without blocking there is nothing to wait for: no timeout")
        waiting = Waiting(blocking, None if timeout == -1 else timeout)
        ours = self._local
        if not waiting.gets(ours.turn):
            return False
        owner = f"{self._node.name} process {os.getpid()} {uuid.uuid4().hex[:8]}"
        claim = LockLease(self._asking, ours.keeper(self._asking, self.name), self._lease_s)
        holding = None
        try:
            while True:
                holding = self._try(owner, claim)
                if holding is not None:
                    ours.holding = holding
                    return True
                if not waiting.pauses():
                    return False
        finally:
            claim.end()
            if holding is None:
                ours.turn.release()

    def release(self) -> None:
        """Release the lock.

        Raises:
            LockLost: it was lost before.
            RuntimeError: it is not held here.
        """
        ours = self._local
        holding, ours.holding = ours.holding, None
        if holding is None:
            raise RuntimeError(f"{self.name} is not held by this program")
        holding.over.set()
        ours.turn.release()
        try:
            if holding.lease is None:
                self._do("release", holding.owner, holding.token)
            elif not holding.lease.release():
                raise NotDone("its key had gone")
        except (NotDone, LeaseLost):
            raise LockLost(f"{self.name} was no longer held with token {holding.token}") from None

    @property
    def token(self) -> int:
        """The fencing token of this holding: higher than that of any holder before.

        Raises:
            RuntimeError: the lock is not held here.
        """
        holding = self._local.holding
        if holding is None:
            raise RuntimeError(f"{self.name} is not held by this program")
        return holding.token

    @property
    def is_held(self) -> bool:
        """Whether this program holds it, as far as its own clock shows."""
        holding = self._local.holding
        return holding is not None and holding.is_certain

    def check(self) -> int:
        """Return the token, once the cluster has confirmed that the lock is held here.

        Raises:
            LockLost: it is not held here.
        """
        holding = self._local.holding
        if holding is None or not self._confirmed(holding):
            raise LockLost(f"{self.name} is not held here any more")
        return holding.token

    def locked(self) -> bool:
        """Whether a program holds it."""
        return bool(self._read())

    def holder(self) -> dict[str, Json] | None:
        """Return the holder as the cluster has it: owner, token, lease_ms, beat; or None."""
        held = self._read()
        if not held or not is_by_lease(held):
            return held or None
        found = holder_of(self._asking, self.name, held)
        return found if self._read() == held else self.holder()

    def __enter__(self) -> ReplicatedLock:
        if not self.acquire():  # the caller of an awaited `with` gave up
            raise LockLost(f"{self.name} was not got: nobody waits for it any more")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._local.holding is None:  # released inside
            return
        if error is None:
            self.release()
            return
        with contextlib.suppress(LockLost, ClientError):  # the error inside explains more
            self.release()

    @property
    def _taken_back(self) -> dict[str, Callable[[Any], object]]:
        """Return the calls that undo cancelled ones, by name (waiting.py)."""
        return {"acquire": self._unwanted, "__enter__": self._unwanted}

    def _unwanted(self, got: object) -> None:
        if got:
            with contextlib.suppress(LockLost, ClientError):
                self.release()

    @property
    def _asking(self) -> Asking:
        return Asking(self._node, self._timeout)

    def _try(self, owner: str, claim: LockLease) -> _Holding | None:
        """Return a holding if the lock was free, or its holder has shown no beat for a lease."""
        begun_s, text = time.monotonic(), self._text()
        held = {} if text is None else self._checked(self._understood(text))
        if held and (is_by_lease(held) or not self._local.watch.has_expired(held)):
            return None
        try:
            is_by_lease_here = claim.has_lease()
        except LeaseLost:  # its grant came too late, so it was never held: have another one
            return None
        if is_by_lease_here:
            got = claim.take(self.name, text, owner)
            return got and _Holding(owner, got[1], math.inf, threading.Event(), got[0])
        lease_ms = int(self._lease_s * 1000)
        try:
            if held:
                token = self._do("seize", owner, lease_ms, held["token"], held["beat"])
            else:
                token = self._do("acquire", owner, lease_ms)
        except NotDone:
            return None
        holding = _Holding(owner, int(token), begun_s + self._lease_s, threading.Event())
        threading.Thread(
            target=self._keep, args=(holding,), name=f"{self.name} beats", daemon=True
        ).start()
        return holding

    def _confirmed(self, holding: _Holding) -> bool:
        """Ask the cluster whether it is still held."""
        if holding.lease is None:
            return self._renew(holding)
        try:
            holding.lease.check()
        except LeaseLost:
            return False
        if self._read().get("owner") == holding.owner:
            return True
        holding.until_s = 0.0  # the key was deleted
        return False

    def _keep(self, holding: _Holding) -> None:
        """Renew the lock until it is released or lost."""
        while not holding.over.wait(self._lease_s / BEATS):
            with contextlib.suppress(ClientError):  # no node answers: the lease expires
                if not self._renew(holding):
                    return

    def _renew(self, holding: _Holding) -> bool:
        begun_s = time.monotonic()
        limit_s = self._lease_s / 2  # leaves time for another node if one hangs
        if self._timeout is not None:
            limit_s = min(limit_s, self._timeout)
        try:
            self.within(limit_s)._do("beat", holding.owner, holding.token)
        except NotDone:
            holding.until_s = 0.0
            return False
        holding.until_s = begun_s + self._lease_s
        return True


class _BeatAge:
    """The time for which a holder's beat has not changed."""

    def __init__(self) -> None:
        self._seen: tuple[int, int] | None = None
        self._since_s = 0.0

    def has_expired(self, held: dict[str, Json]) -> bool:
        """Whether this same beat was first seen a lease and a margin ago."""
        seen, now_s = (held["token"], held["beat"]), time.monotonic()
        if seen != self._seen:
            self._seen, self._since_s = seen, now_s
        return now_s - self._since_s > MARGIN * int(held["lease_ms"]) / 1000
