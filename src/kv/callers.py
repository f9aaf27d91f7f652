"""The callers of one lock or election object: one tries or holds at a time, the others wait in
line. Pure.

An attempt has a lease and its own token until it has won. So no caller takes another one's
for its own. One that lost what it held makes room at once; what it does afterwards with the object
concerns its own attempt, and not that of whoever came after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary, ref


class Held(Protocol):
    """A lease, as far as its end matters here."""

    @property
    def is_held(self) -> bool: ...
    @property
    def is_over(self) -> bool: ...


Leased = TypeVar("Leased", bound=Held)
Waiter = TypeVar("Waiter")


class Attempt(Generic[Leased]):
    """One caller's attempt to get it, and its time of holding it."""

    def __init__(self, caller: object) -> None:
        """Begin an attempt of a thread or a task."""
        self._caller = ref(caller)  # one that has ended is forgotten
        self.lease: Leased | None = None
        self.token: int | None = None  # once it has won
        self.has_turn = True
        self.watch: Any = None

    @property
    def caller(self) -> object:
        return self._caller()


class Callers(Generic[Leased, Waiter]):
    """Whose turn it is with one object."""

    def __init__(self, wake: Callable[[Waiter], bool]) -> None:
        """`wake` is called with the waiter whose turn has come. It returns False for one that waits
        no more, and the next is called."""
        self._wake = wake
        self._line: deque[Waiter] = deque()
        self._is_taken = False
        self.holds: Attempt[Leased] | None = None
        self._losers: WeakKeyDictionary[object, Attempt[Leased]] = WeakKeyDictionary()
        self._last_loser: Attempt[Leased] | None = None

    def comes(self, waiter: Waiter | None) -> bool:
        """Return whether a caller that comes has its turn. Else a waiter stands in line."""
        self.look()
        if not self._is_taken:
            self._is_taken = True
            return True
        if waiter is not None:
            self._line.append(waiter)
        return False

    def leaves(self, waiter: Waiter, has_turn: bool) -> None:
        """Take a waiter that waits no more out of the line; pass on its turn if that has come."""
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
        """Record a token that was got. Return False if the lease is over by now."""
        if attempt.lease is None or not attempt.lease.is_held:
            return False
        attempt.token = token
        self.holds = attempt
        self._last_loser = None
        self._forget(attempt)
        return True

    def look(self) -> None:
        """Make room if what is held was lost."""
        lost = self.holds
        if lost is not None and (lost.lease is None or lost.lease.is_over):
            self.holds = None
            self._last_loser = lost
            if lost.caller is not None:
                self._losers[lost.caller] = lost
            self.ends(lost)

    def of(self, caller: object) -> Attempt[Leased] | None:
        """Return the attempt that a caller means: its own that was lost, else the one that holds;
        None: nobody has held it since it was released."""
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
