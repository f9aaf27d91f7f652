"""`kv.lock()` and `kv.election()`: one holder at a time, with a token that only grows."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from ...common.process.wakeup import Flag
from ..calls.calls import CALLS, Ask
from ..calls.methods import carried_out, short_traceback
from ..calls.value_codec import Data
from ..calls.wait_times import seconds_to_wait
from ..requests.steps import carry_out
from ..watches.watch import Watch
from .callers import Callers
from .claims import (
    NOT_HELD,
    AwaitTurn,
    BaseClaim,
    Claiming,
    ClaimStep,
    HasSlot,
    LeaderChanges,
    Look,
)
from .lease import Lease, Transport, call_apart

Kind = TypeVar("Kind")
_FORKED = "it is held by the process that forked, not by this one"


class Claim(BaseClaim[Lease, Flag]):
    """The part that a lock and an election share: the waits of their threads."""

    _lease_class = Lease
    _client: Transport
    _watching: Callable[[str], Watch[str]]
    _was_held_at_fork = False

    def _begin_anew(self) -> None:
        self._process = os.getpid()
        self._mutex = threading.RLock()  # a signal handler may release
        super()._begin_anew()

    @property
    def _callers(self) -> Callers[Lease, Flag]:
        """The callers of this process: a forked child does not hold what its parent holds."""
        if self._process != os.getpid():
            self._was_held_at_fork = self._all_callers.holds_any
            self._begin_anew()
        return self._all_callers

    @property
    def _why_not_held(self) -> str:
        return _FORKED if self._was_held_at_fork else NOT_HELD

    @short_traceback
    def _carry_out(self, steps: Claiming[Kind]) -> Kind:
        return carry_out(steps, self._do)

    def _do(self, step: ClaimStep) -> object:
        if isinstance(step, Ask):
            return self._client.ask(step.call, step.limit_s)
        if isinstance(step, Look):
            return step.watch._step(step.until_s)
        if isinstance(step, AwaitTurn):
            left_s = None if step.until_s is None else max(0.0, step.until_s - self._now())
            return step.waiter.wait(left_s)
        return self._carry_out(step.steps)

    def _caller(self) -> object:
        if not hasattr(_thread, "caller"):
            _thread.caller = _Caller()
        return _thread.caller

    def _new_waiter(self) -> Flag:
        return Flag()

    @staticmethod
    def _wake(waiter: Flag) -> bool:
        waiter.set()
        return True

    def _has_turn(self, waiter: Flag) -> bool:
        return waiter.is_set()

    _call_apart = staticmethod(call_apart)

    def check(self) -> int:
        """Return the token, once the cluster has confirmed that it is held: the lease is alive, and
        the key has not changed since the entry of the token set it.

        Raises:
            LeaseLost: the lock is not held.
        """
        return self._carry_out(self._checking(self._caller()))

    def wait_lost(self, timeout: float | None = None) -> bool:
        """Wait until it is lost, at most `timeout` seconds; return whether it is. A released lock
        is not lost. Raises RuntimeError if this program does not hold it."""
        return self._my_lease().wait_lost(timeout)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Release it at the end of a `with`. An error in the block takes precedence over an error
        here."""
        self._carry_out(self._leaving(error))


class Lock(Claim):
    """A lock for all programs of the cluster: `with kv.lock("nightly", ttl=10) as token`.

    It is held by a lease, so it is free again `ttl` seconds after its holder died, or slightly
    later. A holder that was paused for longer does not notice that. So pass the token to the
    resource that the lock guards, and let it refuse a token below the highest that it has seen.

    Threads may share one object. As with `threading.Lock`, one thread holds it at a time and the
    others wait in line. It is not reentrant: a thread that already holds it waits as well.
    """

    acquire = carried_out(BaseClaim[Any, Any]._acquiring, "acquire")
    holder = carried_out(BaseClaim[Any, Any]._holder, "holder")
    __enter__ = carried_out(BaseClaim[Any, Any]._entering, "__enter__")

    def release(self) -> None:
        """Release it. Raises LeaseLost if it was lost, RuntimeError if it is not held."""
        self._carry_out(self._giving(self._caller()))


class Semaphore(HasSlot, Lock):
    """A lock that up to `limit` programs hold at a time: `with kv.semaphore("reports", 3) as
    token`.

    As with `threading.Semaphore`, each caller of an object holds it for itself, in its own slot.
    """

    holders = carried_out(BaseClaim[Any, Any]._holders, "holders")


class Election(Claim, Generic[Data]):
    """An election of one leader at a time among programs: `kv.election("service")`."""

    _states = ("leads", "does not lead")

    def __enter__(self) -> Election[Data]:
        return self

    def campaign(self, value: Data, timeout: float | None = None) -> int | None:
        """Return the fencing token once this program leads; `leader` then returns `value`. Return
        None if it did not become the leader within `timeout` seconds (0: one try; None, -1: for
        ever)."""
        text = self._codec.text(value)
        return self._carry_out(self._getting(text, seconds_to_wait(timeout, -1)))

    def resign(self) -> None:
        """Stop leading. Raises LeaseLost if it was lost, RuntimeError if it did not lead."""
        self._carry_out(self._giving(self._caller()))

    def leader(self) -> Data | None:
        """Return the value that the leader campaigned with; None if there is no leader."""
        return self._codec.of_any(self._client.ask(CALLS.get(self._keys.held)))

    def observe(self) -> Iterator[Data | None]:
        """Yield the leader's value now and after each change; None while there is no leader."""
        leaders = LeaderChanges(self._keys)
        with self._watching(self._keys.prefix) as watch:
            while watch._step():
                yield from map(self._codec.of_any, leaders.take(watch))


class _Caller:
    """A thread's identity. `threading.current_thread()` would keep threads that C code started."""


_thread = threading.local()
