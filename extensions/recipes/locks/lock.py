"""`kv.lock()`, `kv.semaphore()` and `kv.election()` for threads, and what they return."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, overload

from raftline.clients.calls.calls import Ask
from raftline.clients.calls.methods import carried_out
from raftline.clients.calls.value_codec import Data
from raftline.clients.leases.gates import AwaitTurn
from raftline.clients.leases.lease import Lease, Transport
from raftline.clients.requests.times import Seconds
from raftline.clients.steps import carry_out
from raftline.clients.watches.watch import Watch
from raftline.common.process.wakeup import Flag
from raftline.common.public import public

from .claim_steps import Claiming, ClaimStep, Look, Pause
from .claims import BaseClaim, LeaderChanges
from .held import BaseHeld

Kind = TypeVar("Kind")


def admitted_in_time(step: AwaitTurn) -> bool:
    """Wait for a turn at a gate; return whether it came in time."""
    admitted = Flag()
    step.turn.when_admitted(admitted.set)
    return admitted.wait(None if step.until_s is None else step.until_s - time.monotonic())


@public("raftline.api")
class Held(BaseHeld[Lease]):
    """The holding of a thread: a lock, a slot of a semaphore or a leadership. It belongs to no
    thread: any thread that has this object may use it. `with` releases it at the end.

    It has a lease, so it is free again `ttl` seconds after its holder died, or slightly later. A
    holder that was paused for longer does not notice that. So pass the token to the resource that
    the lock guards, and let it refuse a token below the highest that it has seen.
    """

    def check(self) -> int:
        """Return the token, once the cluster has confirmed that it is held: the lease is alive, and
        the key has not changed since the entry of the token set it.

        Raises:
            LeaseLost: it is not held.
        """
        return self._lease._carry_out(self._checking())

    def release(self) -> None:
        """Release it.

        Raises:
            LeaseLost: it was lost.
            RuntimeError: it is released already, or held by the process that forked.
        """
        self._lease._carry_out(self._releasing())

    def wait_lost(self, timeout: Seconds | None = None) -> bool:
        """Wait until it is lost, for at most `timeout` seconds; return whether it is. Releasing it
        does not count as losing it."""
        return self._lease.wait_lost(timeout)

    def __enter__(self) -> Held:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Release it, unless the block did so. An error in the block takes precedence over an error
        here."""
        self._lease._carry_out(self._leaving(error))


class Claim(BaseClaim[Lease, Held]):
    """The part that a lock and an election share: the waits of their threads."""

    _lease_class = Lease
    _held_class = Held
    _client: Transport
    _watching: Callable[[str], Watch[str]]

    def _carry_out(self, steps: Claiming[Kind]) -> Kind:
        return carry_out(steps, self._do)

    def _do(self, step: ClaimStep) -> object:
        if isinstance(step, Ask):
            return self._client.ask(step.call, step.limit_s)
        if isinstance(step, Look):
            return step.watch._step(step.until_s)
        if isinstance(step, AwaitTurn):
            return admitted_in_time(step)
        if isinstance(step, Pause):
            time.sleep(max(0.0, step.until_s - self._now()))
            return None
        return self._carry_out(step.steps)


@public("raftline.api")
class Lock(Claim):
    """A lock for all programs of the cluster: `with kv.lock("nightly", ttl=10) as held`.

    Threads may share one object. Each acquisition excludes all others, even by the same thread, and
    only the object that it returns releases it.
    """

    @overload
    def acquire(self) -> Held: ...
    @overload
    def acquire(
        self, blocking: bool | Seconds | None = ..., timeout: Seconds | None = ...
    ) -> Held | None: ...
    def acquire(
        self, blocking: bool | Seconds | None = True, timeout: Seconds | None = -1
    ) -> Held | None:
        """Return what is held, waiting at most `timeout` seconds. Return None if the lock was not
        acquired.

        -1 and None wait forever, through elections and outages, once a node has served this
        client; 0 and `blocking=False` try once. `acquire(5)` is `acquire(timeout=5)`.

        Raises:
            Unreachable, NoLeader, OutcomeUnknown: no node answered within the timeout, or none has
                ever served this client.
        """
        return self._carry_out(self._acquiring(self._value, blocking, timeout))

    holder = carried_out(BaseClaim[Any, Any]._holder, "holder")

    def __enter__(self) -> Held:
        held = self._carry_out(self._entering())
        return self._with_blocks.begin(threading.get_ident(), held)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Release what this `with` holds. An error in the block takes precedence over an error
        here."""
        self._with_blocks.end(threading.get_ident()).__exit__(kind, error, traceback)


@public("raftline.api")
class Semaphore(Lock):
    """A lock that up to `limit` programs hold at a time, each in its own slot:
    `with kv.semaphore("reports", 3) as held`."""

    holders = carried_out(BaseClaim[Any, Any]._holders, "holders")


@public("raftline.api")
class Election(Claim, Generic[Data]):
    """An election of one leader at a time among programs: `kv.election("service")`."""

    @overload
    def campaign(self, value: Data) -> Held: ...
    @overload
    def campaign(self, value: Data, timeout: Seconds | None = ...) -> Held | None: ...
    def campaign(self, value: Data, timeout: Seconds | None = None) -> Held | None:
        """Return the leadership once this program leads; `leader` then returns `value`. Return None
        if it did not become the leader within `timeout` seconds (0: one try; None, -1: forever).
        The errors are those of `Lock.acquire`."""
        return self._carry_out(self._acquiring(self._codec.text(value), timeout, -1))

    def leader(self) -> Data | None:
        """Return the value that the leader campaigned with, or None without a leader."""
        return self._codec.of_any(self._carry_out(self._holder_value()))

    def observe(self) -> Iterator[Data | None]:
        """Yield the leader's value now and after each change; None while there is no leader."""
        leaders = LeaderChanges(self._keys)
        with self._watching(self._keys.held) as watch:
            while watch._step():
                yield from map(self._codec.of_any, leaders.take(watch))
