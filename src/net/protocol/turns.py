"""Turns for work that may be under way only a little at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

CALLS_AT_ONCE = 2  # of a user, so that a long listing does not hold up short calls


class Ticket(Protocol):
    """A piece of work that waits for its turn."""

    def wake(self) -> None: ...


class Turns:
    """A few turns at a time for each key. Any thread may call the methods."""

    def __init__(self, at_a_time: int, now_s: Callable[[], float] = lambda: 0.0) -> None:
        """`now_s` is the clock of those who measure their turns."""
        self._at_a_time = at_a_time
        self.now_s = now_s
        self._lock = threading.Lock()
        self._taken: dict[str, int] = {}  # turns under way, if any
        self._waiting: dict[str, deque[Ticket]] = {}  # the tickets that wait, if any

    def are_awaited(self, key: str) -> bool:
        """Whether somebody waits for a turn."""
        return key in self._waiting

    def take(self, key: str, ticket: Ticket) -> bool:
        """Take a turn, which `leave` gives back; return whether one was free. If not, the ticket
        wakes once the turn is the caller's."""
        with self._lock:
            taken = self._taken.get(key, 0)
            if taken < self._at_a_time:
                self._taken[key] = taken + 1
                return True
            self._waiting.setdefault(key, deque()).append(ticket)
            return False

    def give_up(self, key: str, ticket: Ticket) -> bool:
        """Stop waiting for a turn; return False if it is the caller's by now."""
        with self._lock:
            waiting = self._waiting.get(key, deque[Ticket]())
            is_waiting = ticket in waiting
            if is_waiting:
                waiting.remove(ticket)
                if not waiting:
                    del self._waiting[key]
            return is_waiting

    def leave(self, key: str) -> None:
        """Give a turn to the next one that waits."""
        with self._lock:
            waiting = self._waiting.get(key)
            if waiting is None:
                left = self._taken[key] - 1
                self._taken[key] = left
                if not left:
                    del self._taken[key]
                return
            waiting.popleft().wake()
            if not waiting:
                del self._waiting[key]
