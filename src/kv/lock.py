"""`kv.lock()` and `kv.election()`: one holder at a time, each with a token that only grows."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Generic, TypeAlias

from raftline.clients.connection import ClientError
from raftline.clients.steps import carry_out
from raftline.kv.callers import Attempt, Callers
from raftline.kv.calls import CALLS, Ask
from raftline.kv.claiming import (
    NOT_HELD,
    ClaimStep,
    Grant,
    Look,
    Seen,
    Wait,
    claiming,
    seconds_to_wait,
)
from raftline.kv.claims import BaseClaim, Confirm, HoldStep, Release
from raftline.kv.codec import Codec, Data
from raftline.kv.contest import ELECTIONS, LOCKS, LockKeys
from raftline.kv.errors import LeaseLost
from raftline.kv.lease import Keeper, Lease, Transport, call_apart
from raftline.kv.watch import Watch

Watching = Callable[[str], Watch[str]]
_Attempt: TypeAlias = Attempt[Lease]
_FORKED = "it is held by the process that forked, not by this one"


class Claim(BaseClaim[Lease, threading.Event]):
    """The part that a lock and an election share: one holder, and a queue of the threads."""

    def __init__(
        self,
        client: Transport,
        keeper: Keeper,
        watching: Watching,
        keys: LockKeys,
        ttl: float,
        on_lost: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(keys, on_lost, call_apart, _caller)
        self._client = client
        self._watching = watching
        self._make_lease = partial(Lease, client, keeper, ttl)
        self._make_lease()  # raises at once if the time can't be one
        self._was_held_at_fork = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._process = os.getpid()
        self._mutex = threading.Lock()
        self._all_callers: Callers[Lease, threading.Event] = Callers(_wake)

    @property
    def _callers(self) -> Callers[Lease, threading.Event]:
        """The callers of this process: a forked child does not hold what its parent holds."""
        if self._process != os.getpid():
            self._was_held_at_fork = self._all_callers.holds is not None
            self._begin_anew()
        return self._all_callers

    @property
    def _why_not_held(self) -> str:
        return _FORKED if self._was_held_at_fork else NOT_HELD

    def check(self) -> int:
        """Return the token, once the cluster has confirmed that it is held: that the lease goes
        on, and that the key is as the entry of the token set it.

        Raises:
            LeaseLost: it is not held.
        """
        return carry_out(self._checking(), self._hold)

    def _hold(self, step: HoldStep) -> object:
        if isinstance(step, Confirm):
            return step.lease.check()
        if isinstance(step, Release):
            return step.lease.release()
        return self._client.ask(step.call, step.limit_s)

    def wait_lost(self, timeout: float | None = None) -> bool:
        """Wait until it is lost, at most `timeout` seconds; return whether it is. What is released
        is not lost. Raises RuntimeError if it is not held by this program."""
        return self._my_lease().wait_lost(timeout)

    # --- how it is got --------------------------------------------------------------------------

    def _get(self, value: str, timeout_s: float | None) -> int | None:
        """Return the token once it is held; None if the time is over first. Threads that share
        this object have it in the order in which they asked."""
        wait = Wait.of(timeout_s, time.monotonic())
        if not self._takes_turn(wait):
            return None
        attempt: _Attempt = Attempt(_caller())
        try:
            steps = claiming(self._keys, value, wait, time.monotonic)
            return carry_out(steps, partial(self._do, attempt))
        finally:
            self._hang_up(attempt)
            if attempt.token is None:
                self._let_go(attempt)

    def _takes_turn(self, wait: Wait) -> bool:
        callers = self._callers
        turn = None if wait.is_once else threading.Event()
        with self._mutex:
            if callers.comes(turn):
                return True
        if turn is None:
            return False
        is_there = False
        try:
            is_there = turn.wait(wait.left_s(time.monotonic()))
        finally:
            if not is_there:
                with self._mutex:
                    callers.leaves(turn, has_turn=turn.is_set())
        return is_there

    def _do(self, attempt: _Attempt, step: ClaimStep) -> object:
        """Carry out one step of a claim."""
        if isinstance(step, Ask):
            return self._hold(step)
        if isinstance(step, Grant):
            self._hang_up(attempt)
            self._drop(attempt)
            attempt.lease = self._make_lease(on_end=partial(self._ended, attempt))
            return attempt.lease.grant().id
        if isinstance(step, Look):
            if attempt.watch is None:
                attempt.watch = self._watching(self._keys.prefix)
            goes_on = attempt.watch.step(step.until_s)
            return Seen(goes_on, attempt.watch.take_ready(), attempt.watch.is_listed)
        with self._mutex:
            return self._callers.wins(attempt, step.token)

    def _hang_up(self, attempt: _Attempt) -> None:
        watch, attempt.watch = attempt.watch, None
        if watch is not None:
            watch.close()

    def _drop(self, attempt: _Attempt) -> None:
        lease, attempt.lease = attempt.lease, None
        if lease is not None:
            lease.drop()

    def _let_go(self, attempt: _Attempt) -> None:
        """End an attempt that failed."""
        try:
            self._drop(attempt)
        finally:
            self._pass_on(attempt)

    def give(self) -> None:
        """Give it up.

        Raises:
            LeaseLost: it was no longer held.
            RuntimeError: it is not held by this program.
        """
        carry_out(self._giving(), self._hold)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give it up at the end of a `with`. An error in the block outranks one here."""
        if self._found() is None:
            return
        if error is None:
            self.give()
        else:
            with contextlib.suppress(ClientError):
                self.give()


class Lock(Claim):
    """A lock for all programs of the cluster: `with kv.lock("nightly", ttl=10) as token`.

    It is held by a lease. So it is free again `ttl` seconds after its holder died, or little
    later. A holder that was paused for longer does not notice. So the resource that the lock
    guards gets the token, and refuses one below the highest that it has seen.

    Threads may share one object. As with `threading.Lock`, one has it at a time, the others wait in
    line, and a thread that has it waits as well: it is not reentrant.
    """

    def __init__(
        self,
        client: Transport,
        keeper: Keeper,
        watching: Watching,
        name: str,
        ttl: float,
        holder: str,
        on_lost: Callable[[], object] | None,
    ) -> None:
        super().__init__(client, keeper, watching, LockKeys(LOCKS, name), ttl, on_lost)
        self._holder = holder

    def acquire(
        self, blocking: bool | float | None = True, timeout: float | None = -1
    ) -> int | None:
        """Return the fencing token, waiting at most `timeout` seconds; None if it was not got.

        -1 and None are for ever; 0, and `blocking=False`, are one try. `acquire(5)` is
        `acquire(timeout=5)`.
        """
        value = f"{self._holder} process {os.getpid()}"
        return self._get(value, seconds_to_wait(blocking, timeout))

    def release(self) -> None:
        """Release it. Raises LeaseLost if it was lost, RuntimeError if it is not held."""
        self.give()

    def holder(self) -> str | None:
        """Return the holder by the name that it gave; None: it is free."""
        return self._client.ask(CALLS.get(self._keys.held))

    def __enter__(self) -> int:
        token = self.acquire()
        if token is None:
            raise LeaseLost(f"the lock {self.name} was not got: this client was closed")
        return token


class Election(Claim, Generic[Data]):
    """An election of one leader at a time among programs: `kv.election("service")`."""

    def __init__(
        self,
        client: Transport,
        keeper: Keeper,
        watching: Watching,
        name: str,
        ttl: float,
        codec: Codec[Data],
        on_lost: Callable[[], object] | None,
    ) -> None:
        super().__init__(client, keeper, watching, LockKeys(ELECTIONS, name), ttl, on_lost)
        self._codec = codec

    _states = ("leads", "does not lead")

    def __enter__(self) -> Election[Data]:
        return self

    def campaign(self, value: Data, timeout: float | None = None) -> int | None:
        """Return the fencing token once this program leads, which `leader` then returns as `value`;
        None if it did not come to lead within `timeout` seconds (0: one try; None, -1: for
        ever)."""
        return self._get(self._codec.text(value), seconds_to_wait(timeout, -1))

    def resign(self) -> None:
        """Stop leading. Raises LeaseLost if it was lost, RuntimeError if it did not lead."""
        self.give()

    def leader(self) -> Data | None:
        """Return the value that the leader campaigned with; None: no leader."""
        value = self._client.ask(CALLS.get(self._keys.held))
        return None if value is None else self._codec.of(value)

    def observe(self) -> Iterator[Data | None]:
        """Yield the leader's value now and after each change; None: no leader."""
        with self._watching(self._keys.prefix) as watch:
            is_reported = False
            while watch.step():
                for event in watch.take_ready():
                    if event.key == self._keys.held:
                        is_reported = True
                        yield None if event.value is None else self._codec.of(event.value)
                if watch.is_listed and not is_reported:
                    is_reported = True
                    yield None


class _Caller:
    """A thread's identity. `threading.current_thread()` would keep threads that C code began."""


_thread = threading.local()


def _caller() -> object:
    if not hasattr(_thread, "caller"):
        _thread.caller = _Caller()
    return _thread.caller


def _wake(turn: threading.Event) -> bool:
    turn.set()
    return True
