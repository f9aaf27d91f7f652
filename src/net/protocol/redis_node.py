"""The state that all Redis clients of a node share: the numbers of their connections, and the
places of their scans."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Protocol

from ...resp.programs import size_of
from ...wire.commands.operands import Limits
from ...wire.limits import REDIS_CURSORS, REDIS_CURSORS_BYTES

_NUMBER_BITS = 32


class Ticket(Protocol):
    """A command that waits for its turn."""

    @property
    def account(self) -> object:
        """Its user or, without users, its connection."""

    def wake(self) -> None: ...


class RedisNode:
    """The node, as commands see it. Any thread may call it."""

    def __init__(
        self, limits: Limits, time_s: Callable[[], float], new_token: Callable[[int], str]
    ) -> None:
        """`time_s` returns the time of day, and `new_token` random bytes in hexadecimal digits."""
        self.limits = limits
        self._time_s = time_s
        self._new_token = new_token
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        # A cursor of another node, or of an earlier run, must not be taken for one of these.
        self._last_cursor = int(new_token(3), 16) << _NUMBER_BITS
        self._cursors: dict[int, str] = {}  # the oldest first
        self._bytes = 0
        # The waiting commands that change a key, by account; the first account's turn is next. A
        # key is here as long as a command has its turn.
        self._turns: dict[str, OrderedDict[object, deque[Ticket]]] = {}

    def take_turn(self, key: str, ticket: Ticket) -> bool:
        """Take the turn of a key, which `leave_turn` gives back; return whether it was free. If it
        was not, the ticket wakes once the turn is the caller's: the accounts take turns."""
        with self._lock:
            accounts = self._turns.get(key)
            if accounts is None:
                self._turns[key] = OrderedDict()
                return True
            accounts.setdefault(ticket.account, deque()).append(ticket)
            return False

    def give_up_turn(self, key: str, ticket: Ticket) -> bool:
        """Stop waiting for a turn; return False if it is the caller's by now."""
        with self._lock:
            accounts = self._turns.get(key, OrderedDict[object, deque[Ticket]]())
            waiting = accounts.get(ticket.account, deque[Ticket]())
            is_waiting = ticket in waiting
            if is_waiting:
                waiting.remove(ticket)
                if not waiting:
                    del accounts[ticket.account]
            return is_waiting

    def leave_turn(self, key: str) -> None:
        """Give the turn of a key to a command of the next account."""
        with self._lock:
            accounts = self._turns[key]
            if not accounts:
                del self._turns[key]
                return
            account, waiting = accounts.popitem(last=False)
            waiting.popleft().wake()
            if waiting:
                accounts[account] = waiting

    def number(self) -> int:
        """Return the number of a new connection."""
        return next(self._numbers)

    def now_ms(self) -> int:
        """Return the time of day."""
        return int(1000 * self._time_s())

    def chance(self, count: int) -> int:
        """Return a random number below this one."""
        return int(self._new_token(8), 16) % count

    def keep_cursor(self, key: str) -> int:
        """Return a number under which the key of a scan is kept for a while."""
        with self._lock:
            self._last_cursor += 1
            self._cursors[self._last_cursor] = key
            self._bytes += size_of(key)
            while len(self._cursors) > REDIS_CURSORS or self._bytes > REDIS_CURSORS_BYTES:
                self._bytes -= size_of(self._cursors.pop(next(iter(self._cursors))))
            return self._last_cursor

    def cursor(self, number: int) -> str | None:
        """Return the key that was kept under a number; None if it is gone."""
        with self._lock:
            return self._cursors.get(number)
