"""Turns for work of which only a little may be under way at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Protocol

CALLS_AT_ONCE = 2  # of a user, so that a long listing does not hold up short calls


class Ticket(Protocol):
    """A piece of work that waits for its turn."""

    @property
    def account(self) -> object:
        """Its user or, without users, its connection."""

    def wake(self) -> None: ...


class Turns:
    """A few turns at a time for each key; the accounts that wait for a key take turns. Any thread
    may call the methods."""

    def __init__(self, at_a_time: int = 1, now_s: Callable[[], float] = lambda: 0.0) -> None:
        """`now_s` is the clock of those who measure their turns."""
        self._at_a_time = at_a_time
        self.now_s = now_s
        self._lock = threading.Lock()
        self._taken: dict[str, int] = {}  # turns under way, if any
        # The waiting tickets by account, if there are any; the first account's turn is next.
        self._waiting: dict[str, OrderedDict[object, deque[Ticket]]] = {}

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
            accounts = self._waiting.setdefault(key, OrderedDict())
            accounts.setdefault(ticket.account, deque()).append(ticket)
            return False

    def give_up(self, key: str, ticket: Ticket) -> bool:
        """Stop waiting for a turn; return False if it is the caller's by now."""
        with self._lock:
            accounts = self._waiting.get(key, OrderedDict[object, deque[Ticket]]())
            waiting = accounts.get(ticket.account, deque[Ticket]())
            is_waiting = ticket in waiting
            if is_waiting:
                waiting.remove(ticket)
                if not waiting:
                    del accounts[ticket.account]
                if not accounts:
                    del self._waiting[key]
            return is_waiting

    def leave(self, key: str) -> None:
        """Give a turn to the next account."""
        with self._lock:
            accounts = self._waiting.get(key)
            if accounts is None:
                left = self._taken[key] - 1
                self._taken[key] = left
                if not left:
                    del self._taken[key]
                return
            account, waiting = accounts.popitem(last=False)
            waiting.popleft().wake()
            if waiting:
                accounts[account] = waiting
            if not accounts:
                del self._waiting[key]
