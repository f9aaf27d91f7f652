"""How a program gets a lock or comes to lead: the steps, for threads and tasks alike. Pure.

A claim is a generator (`steps.py`). It yields a step and is sent the answer. It has a lease
granted, tries at once, and then follows the keys by a watch (`contest.py`).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from raftline.kv.calls import CALLS, Ask, Stat
from raftline.kv.contest import LockKeys, LockProtocol, token_in
from raftline.kv.errors import LeaseLost
from raftline.kv.events import Event
from raftline.kv.lease_timer import Clock

NOT_HELD = "it is not held by this program"


class Grant(NamedTuple):
    """A step: drop the lease of this attempt and its watch, and get a new lease. The answer is
    its name."""


class Look(NamedTuple):
    """A step: take one line of a watch of the keys, in time. The answer is `Seen`."""

    until_s: float | None


class Won(NamedTuple):
    """A step: the claim has its token. The answer is whether the lease is still held."""

    token: int


class Seen(NamedTuple):
    """The result of a look."""

    goes_on: bool  # False: the time is over, or the client was closed
    events: Sequence[Event[str]]
    is_listed: bool  # all keys that existed at its beginning have come


ClaimStep = Ask | Grant | Look | Won
Claiming = Generator[ClaimStep, Any, int | None]


class Wait(NamedTuple):
    """The time that a claim waits."""

    until_s: float  # by the clock of watches, `time.monotonic`; inf: for ever
    is_once: bool

    @staticmethod
    def of(seconds: float | None, now_s: float) -> Wait:
        """Begin to wait for a number of seconds; None is for ever, 0 is one try."""
        return Wait(math.inf if seconds is None else now_s + seconds, seconds == 0)

    @property
    def until_or_none_s(self) -> float | None:
        return None if self.until_s == math.inf else self.until_s

    def left_s(self, now_s: float) -> float | None:
        """Return the seconds that are left; None: no limit."""
        return None if self.until_s == math.inf else max(0.0, self.until_s - now_s)


def seconds_to_wait(blocking: bool | float | None, timeout: float | None) -> float | None:
    """Return for how many seconds to wait; None: for ever, 0: one try.

    The form is that of `threading.Lock.acquire`: -1 is for ever. A number, or None, that stands
    first is the timeout.

    Raises:
        TypeError, ValueError, OverflowError: as `threading.Lock.acquire`.
    """
    if not isinstance(blocking, bool):
        if timeout != -1:
            raise TypeError("the timeout is given twice")
        blocking, timeout = True, blocking
    if timeout == -1 and not isinstance(timeout, bool):
        return None if blocking else 0.0
    if not blocking:
        raise ValueError("without blocking there is nothing to wait for: no timeout")
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"a timeout is a number of seconds, not {type(timeout).__name__}")
    if not timeout >= 0:
        raise ValueError(f"a timeout of {timeout} s is no time: 0 or more seconds; -1: for ever")
    if timeout > threading.TIMEOUT_MAX:
        raise OverflowError(f"a timeout of {timeout} s is too long; -1: for ever")
    return float(timeout)


def claiming(keys: LockKeys, value: str, wait: Wait, now: Clock) -> Claiming:
    """Claim it; return the token, None if the time is over first. A single try reads first, and
    writes nothing if it is held."""
    if wait.is_once and (yield Ask(CALLS.get(keys.held))) is not None:
        return None
    while True:
        try:
            lease = yield Grant()
            token = yield from _contending(LockProtocol(keys, lease, value), wait)
            if token is None or (yield Won(token)):
                return token
        except LeaseLost:
            pass  # the lease ended before the claim won
        if wait.is_once or now() >= wait.until_s:
            return None


def _contending(protocol: LockProtocol, wait: Wait) -> Claiming:
    token = token_in((yield Ask(protocol.try_once())))
    if token is not None or wait.is_once:
        return token
    while True:
        seen: Seen = yield Look(wait.until_or_none_s)
        if not seen.goes_on:
            return None
        protocol.see(seen.events, seen.is_listed)
        call = protocol.next_call() if seen.is_listed else None
        if call is None:
            continue
        token = token_in((yield Ask(call)))
        if token is not None:
            return token


def is_of(stat: Stat | None, token: int | None) -> bool:
    """Whether the key was last changed by the entry with that token."""
    return stat is not None and stat.index == token
