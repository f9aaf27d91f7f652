"""The callers of one lock or election object: one tries or holds at a time, the others wait in
line. All callers of a semaphore or a shared lock may hold it at a time. Pure.

Each attempt has its lease and its token. So no caller uses those of another. If a caller's lease is
lost, the next one has its turn at once. What the first does with the object afterwards concerns its
lost attempt, not the next one's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary, ref

from raftline.kv.contest import LockProtocol
from raftline.kv.lease_timer import BaseLease

Leased = TypeVar("Leased", bound=BaseLease[Any])
Waiter = TypeVar("Waiter")


class Attempt(Generic[Leased]):
    """One caller's attempt: from its turn until it releases."""

    def __init__(self, caller: object) -> None:
        """Begin an attempt of a thread or a task."""
        self._caller = ref(caller)  # weak: threads and tasks end
        self.lease: Leased | None = None
        self.token: int | None = None  # None: not won yet
        self.contest: LockProtocol | None = None
        self.has_turn = True
        self.watch: Any = None

    @property
    def caller(self) -> object:
        return self._caller()

    def hang_up(self) -> None:
        """Close the watch, if there is one."""
        watch, self.watch = self.watch, None
        if watch is not None:
            watch.close()


class Callers(Generic[Leased, Waiter]):
    """The turns of callers with one object."""

    def __init__(self, wake: Callable[[Waiter], bool]) -> None:
        """`wake` is called with the waiter whose turn has come. It returns False if that one
        gave up; then the next is called."""
        self._wake = wake
        self._line: deque[Waiter] = deque()
        self._is_taken = False
        self.holds: Attempt[Leased] | None = None
        self._losers: WeakKeyDictionary[object, Attempt[Leased]] = WeakKeyDictionary()
        self._last_loser: Attempt[Leased] | None = None

    @property
    def holds_any(self) -> bool:
        """Whether a caller has won, and not released."""
        return self.holds is not None

    def comes(self, waiter: Waiter | None) -> bool:
        """Return whether a new caller has its turn. If not, its waiter joins the queue."""
        self.look()
        if not self._is_taken:
            self._is_taken = True
            return True
        if waiter is not None:
            self._line.append(waiter)
        return False

    def leaves(self, waiter: Waiter, has_turn: bool) -> None:
        """Remove a waiter that gave up; if it had its turn, the next has it."""
        if has_turn:
            self.passes()
        elif waiter in self._line:
            self._line.remove(waiter)

    def passes(self) -> None:
        """Give the turn to the next in line."""
        while self._line:
            if self._wake(self._line.popleft()):
                return
        self._is_taken = False

    def ends(self, attempt: Attempt[Leased]) -> None:
        """Give the turn of an attempt to the next, once."""
        if attempt.has_turn:
            attempt.has_turn = False
            self.passes()

    def wins(self, attempt: Attempt[Leased], token: int) -> bool:
        """Record the token of a win. Return False if its lease has ended already."""
        if attempt.lease is None or not attempt.lease.is_held:
            return False
        attempt.token = token
        self._keep(attempt)
        return True

    def _keep(self, attempt: Attempt[Leased]) -> None:
        self.holds = attempt
        self._last_loser = None
        self._forget(attempt)

    def look(self) -> None:
        """Give the turn to the next if the holder's lease was lost."""
        lost = self.holds
        if lost is not None and (lost.lease is None or lost.lease._is_over):
            self.holds = None
            self._last_loser = lost
            if lost.caller is not None:
                self._losers[lost.caller] = lost
            self.ends(lost)

    def of(self, caller: object) -> Attempt[Leased] | None:
        """Return the attempt that a caller means: its own if that was lost, else the holder's, else
        the last that was lost. None: there was none since a release."""
        self.look()
        return self._losers.get(caller) or self.holds or self._last_loser

    def take(self, caller: object) -> Attempt[Leased] | None:
        """Return the attempt that a caller releases. It keeps its turn until `ends`."""
        attempt = self.of(caller)
        if attempt is None:
            return None
        if attempt is self.holds:
            self.holds = None
        else:
            self._forget(attempt)
        if attempt is self._last_loser:
            self._last_loser = None
        return attempt

    def _forget(self, attempt: Attempt[Leased]) -> None:
        if attempt.caller is not None:
            self._losers.pop(attempt.caller, None)


class Crowd(Callers[Leased, Waiter]):
    """Callers that may all hold what their object stands for: nobody waits for a turn."""

    def __init__(self, wake: Callable[[Waiter], bool]) -> None:
        super().__init__(wake)
        self._won: list[Attempt[Leased]] = []

    def comes(self, waiter: Waiter | None) -> bool:
        return True

    def _keep(self, attempt: Attempt[Leased]) -> None:
        self._won = [each for each in self._won if not self._is_forgotten(each, attempt.caller)]
        self._won.append(attempt)

    def _is_forgotten(self, lost: Attempt[Leased], winner: object) -> bool:
        is_over = lost.lease is None or lost.lease._is_over
        return is_over and lost.caller in (None, winner)

    def look(self) -> None:
        """A loss gives nobody a turn."""

    def of(self, caller: object) -> Attempt[Leased] | None:
        """Return the last attempt of a caller that won; if there is none, that of any caller."""
        own = [each for each in self._won if each.caller is caller] or self._won
        return own[-1] if own else None

    def take(self, caller: object) -> Attempt[Leased] | None:
        attempt = self.of(caller)
        if attempt is not None:
            self._won.remove(attempt)
        return attempt

    @property
    def holds_any(self) -> bool:
        return bool(self._won)
