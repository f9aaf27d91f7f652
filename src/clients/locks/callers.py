"""The callers of one lock or election object: one tries or holds at a time, and the others wait in
line. All callers of a semaphore or a shared lock may hold it at a time. Pure.

Each attempt has its own lease and token, so no caller uses those of another caller. If a caller's
lease is lost, the next caller has its turn at once. Later calls by the first caller concern its
lost attempt, not the attempt of the next one. That holds even for a call from another thread or
task: until a lost attempt is released, a caller that holds nothing itself may be the caller that
lost it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import ref

from .contest import LockProtocol
from .lease_timer import BaseLease

Leased = TypeVar("Leased", bound=BaseLease[Any])
Waiter = TypeVar("Waiter")


class Attempt(Generic[Leased]):
    """One caller's attempt, from its turn to its release."""

    def __init__(self, caller: object) -> None:
        """Start an attempt of a thread or a task."""
        self._caller = ref(caller)  # weak: threads and tasks end
        self.lease: Leased | None = None
        self.token: int | None = None  # None: it has not won yet
        self.contest: LockProtocol | None = None
        self.has_turn = True
        self.watch: Any = None

    @property
    def caller(self) -> object:
        return self._caller()

    @property
    def is_lost(self) -> bool:
        return self.lease is None or self.lease._is_over

    def hang_up(self) -> None:
        """Close the watch, if there is one."""
        watch, self.watch = self.watch, None
        if watch is not None:
            watch.close()


class Callers(Generic[Leased, Waiter]):
    """The turns of the callers of one object."""

    def __init__(self, wake: Callable[[Waiter], bool]) -> None:
        """`wake` is called with the waiter whose turn has come. It returns False if that waiter
        gave up; then `wake` is called with the next."""
        self._wake = wake
        self._line: deque[Waiter] = deque()
        self._is_taken = False
        self.holds: Attempt[Leased] | None = None
        self._lost: list[Attempt[Leased]] = []  # and not yet released

    @property
    def holds_any(self) -> bool:
        """Whether a caller has won and has not released."""
        return self.holds is not None

    def enqueue(self, waiter: Waiter | None) -> bool:
        """Return whether a new caller has its turn at once. If not, its waiter joins the queue."""
        self.expire_stale()
        if not self._is_taken:
            self._is_taken = True
            return True
        if waiter is not None:
            self._line.append(waiter)
        return False

    def cancel(self, waiter: Waiter, has_turn: bool) -> None:
        """Remove a waiter that gave up. If it had its turn, pass the turn on."""
        if has_turn:
            self.hand_over()
        elif waiter in self._line:
            self._line.remove(waiter)

    def hand_over(self) -> None:
        """Give the turn to the next waiter in line."""
        while self._line:
            if self._wake(self._line.popleft()):
                return
        self._is_taken = False

    def finish(self, attempt: Attempt[Leased]) -> None:
        """Pass on the turn of an attempt, once."""
        if attempt.has_turn:
            attempt.has_turn = False
            self.hand_over()

    def mark_held(self, attempt: Attempt[Leased], token: int) -> bool:
        """Record the token of a win. Return False if its lease has ended already."""
        if attempt.lease is None or not attempt.lease.is_held:
            return False
        attempt.token = token
        self._keep(attempt)
        return True

    def _keep(self, attempt: Attempt[Leased]) -> None:
        self.holds = attempt
        self._lost = [each for each in self._lost if each.caller is not attempt.caller]

    def expire_stale(self) -> None:
        """Pass on the turn if the holder's lease was lost."""
        lost = self.holds
        if lost is not None and lost.is_lost:
            self.holds = None
            self._lost.append(lost)
            self.finish(lost)

    def current(self, caller: object) -> Attempt[Leased] | None:
        """Return the attempt that a caller means: its own, else a lost one, else the holder's.
        Return None if there was no attempt since the last release."""
        self.expire_stale()
        held = [] if self.holds is None else [self.holds]
        return _meant([*held, *reversed(self._lost)], caller)

    def release(self, caller: object) -> Attempt[Leased] | None:
        """Return the attempt that a caller releases. It keeps its turn until `finish`."""
        attempt = self.current(caller)
        if attempt is self.holds:
            self.holds = None
        elif attempt in self._lost:
            self._lost.remove(attempt)
        else:  # a signal handler of this thread has just released it
            return None
        return attempt


def _meant(attempts: list[Attempt[Leased]], caller: object) -> Attempt[Leased] | None:
    """Return the caller's own first attempt, else the first lost one: the caller may have lost it
    in another thread or task. Else return the first attempt of all."""
    own = [each for each in attempts if each.caller is caller]
    lost = [each for each in attempts if each.is_lost]
    return next(iter(own or lost or attempts), None)


class SharedWaiters(Callers[Leased, Waiter]):
    """Callers that may all hold the lock or semaphore at once: nobody waits for a turn."""

    def __init__(self, wake: Callable[[Waiter], bool]) -> None:
        super().__init__(wake)
        self._won: list[Attempt[Leased]] = []

    def enqueue(self, waiter: Waiter | None) -> bool:
        return True

    def _keep(self, attempt: Attempt[Leased]) -> None:
        winner = attempt.caller
        self._won = [each for each in self._won if not (each.is_lost and each.caller is winner)]
        self._won.append(attempt)

    def expire_stale(self) -> None:
        """Do nothing: a loss gives nobody a turn."""

    def current(self, caller: object) -> Attempt[Leased] | None:
        """Return the last winning attempt of a caller, else a lost attempt, else any caller's
        attempt."""
        return _meant(self._won[::-1], caller)

    def release(self, caller: object) -> Attempt[Leased] | None:
        attempt = self.current(caller)
        if attempt not in self._won:
            return None
        self._won.remove(attempt)
        return attempt

    @property
    def holds_any(self) -> bool:
        return bool(self._won)
