"""A lease on the holder's side: its time, its end, and the requests that it needs.

A holder counts from the moment at which it first **sent** the request that was answered, never from
the answer, which may have arrived late (docs/use/leases.md has the argument). Threads and asyncio
tasks carry out the same steps (`steps.py`), with a clock that they pass in.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Set
from typing import Any, TypeVar

from ..calls.calls import CALLS, Ask, Call, Steps
from ..calls.kv_errors import LeaseLost
from ..connections.node_connection import ClientError, Refused
from ..requests.health import report_error

RENEWALS = 3  # per lease time
RETRY_S = 0.2  # pause after a failed renewal
LEAST_S = 0.05  # the shortest time limit of a request

Clock = Callable[[], float]


def clock() -> float:
    """Return the seconds of a clock that keeps running while the machine sleeps, if there is
    one."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class LeaseEnd:
    """The end of a lease, or of a claim under one: it is lost or given up. The first of these
    counts, from any thread."""

    def __init__(self, lease: str, on_end: Callable[[Any], object] | None = None) -> None:
        """`on_end` is called once, when it is over."""
        self.lease = lease
        self.is_over = False
        self.was_lost = False
        self.is_waiting = False  # of a claim that has not won yet
        self.ending = threading.RLock()  # a signal handler may release
        self._on_end = on_end

    def lose(self) -> None:
        """Mark it as lost, unless it is over."""
        self._end(was_lost=True)

    def give_up(self) -> None:
        """Stop holding it, because it was released or will expire. Do nothing if it is over."""
        self._end(was_lost=False)

    def _end(self, *, was_lost: bool) -> None:
        with self.ending:
            if self.is_over:
                return
            self.was_lost, self.is_over = was_lost, True
        if self._on_end is not None:
            self._on_end(self)

    def stop_waiting(self) -> bool:
        """Give it up if it has not won yet, so that it can't win any more; return whether it was
        so."""
        with self.ending:
            is_waiting = self.is_waiting and not self.is_over
            if is_waiting:
                self.give_up()
            return is_waiting

    def loss(self) -> LeaseLost:
        """Return the error for a use after the end."""
        return LeaseLost(
            f"{self.lease} has ended: it was released, or not renewed in time, or its client was "
            "closed"
        )


class LeaseTimer(LeaseEnd):
    """One granted lease, and the time until which its holder may rely on it."""

    def __init__(
        self,
        lease: str,
        seconds: float,
        sent_s: float,
        on_end: Callable[[Any], object] | None = None,
    ) -> None:
        """Start the time of a lease whose grant request was first sent at `sent_s`."""
        super().__init__(lease, on_end)
        self.seconds = seconds
        self.is_renewed = True  # by the keeper; otherwise by the program
        self._has_reported = False
        self.sent_s = sent_s
        self.renew_at_s = sent_s + seconds / RENEWALS

    @property
    def until_s(self) -> float:
        """The time from which another client may hold the lease."""
        return self.sent_s + self.seconds

    @property
    def due_s(self) -> float:
        """The time at which to renew the lease, or to detect that it is lost."""
        return min(self.renew_at_s, self.until_s) if self.is_renewed else self.until_s

    @property
    def timer(self) -> LeaseTimer:
        """The timer of the lease itself."""
        return self

    @property
    def give_back(self) -> Call[int | None]:
        """The request that gives up what is held, once its outcome is known."""
        return CALLS.release(self.lease)

    @property
    def take_back(self) -> str:
        """The request that takes back what a claim has asked for under this lease alone."""
        return self.give_back.command

    @property
    def name(self) -> str:
        """The name of a claim that has this lease for itself."""
        return self.lease

    def begin_request(self) -> None:
        """Do nothing: the end of the lease takes back everything."""

    def end_request(self) -> None:
        """Do nothing."""

    def expect_answer(self, command: str, *, again: bool = False) -> None:
        """Do nothing: the lease is not renewed any more."""

    def is_held(self, now_s: float) -> bool:
        return not self.is_over and now_s < self.until_s

    def limit_s(self, now_s: float, shortest_s: float = math.inf) -> float | None:
        """Return the seconds that one renewal may take; None if the time of the lease is over.

        They are at most a third of its time, and a third of `shortest_s`, the time of the shortest
        lease that the same thread renews. So the shortest lease is renewed in time, too.
        """
        left_s = self.until_s - now_s
        if left_s <= 0:
            return None
        return max(LEAST_S, min(left_s, min(self.seconds, shortest_s) / RENEWALS))

    def extend(self, sent_s: float) -> None:
        """Record a successful renewal whose request was first sent at `sent_s`."""
        self.sent_s = max(self.sent_s, sent_s)
        self.renew_at_s = sent_s + self.seconds / RENEWALS

    def retry_soon(self, now_s: float) -> None:
        """Schedule another renewal soon, since the last one got no answer."""
        self.renew_at_s = now_s + RETRY_S

    def retires(self, now_s: float) -> bool:
        """Return whether it is to be released instead of renewed, and give it up if so."""
        return False

    def last_requests(self) -> list[str]:
        """Return the requests that leave what it waits for, as its client closes."""
        return [self.give_back.command] if self.stop_waiting() else []

    def unanswered(self) -> list[str]:
        """Return the requests that are to be sent again after a renewal, until they are
        answered."""
        return []

    def answered(self, command: str) -> None:
        """Record the answer to such a request."""

    def report(self, now_s: float) -> None:
        """Log the current exception if it is the first of this lease, and schedule another renewal
        soon. An error of this program must not end a renewal loop."""
        if not self._has_reported:
            self._has_reported = True
            report_error("%s was not renewed because of an error in this program", self.lease)
        self.retry_soon(now_s)


SomeTimer = TypeVar("SomeTimer", bound=LeaseTimer)


def closing(timers: Iterable[LeaseTimer], leaving: Set[str]) -> list[str]:
    """Give up the leases of a client that closes. Return the requests that end what its claims wait
    for, and what is being left. Its holdings last until its lease expires."""
    last: list[str] = []
    for timer in timers:
        last += timer.last_requests()
        timer.give_up()
    return list(dict.fromkeys([*last, *leaving]))


def read_nothing(text: str) -> None:
    """Read a reply that counts by its arrival alone."""


def granting(
    seconds: float,
    on_end: Callable[[Any], object],
    now: Clock,
    kind: type[SomeTimer],
) -> Steps[SomeTimer]:
    """Acquire a lease, and return its timer.

    Raises:
        LeaseLost: the answer came after its time was over, so it was never held.
    """
    sent_s = now()
    name = yield Ask(CALLS.grant(seconds))
    timer = kind(name, seconds, sent_s, on_end)
    if not timer.is_held(now()):
        raise LeaseLost(f"{name} was over before its grant arrived: the answer took too long")
    return timer


def confirming(timer: LeaseTimer, now: Clock, limit_s: float | None) -> Steps[bool]:
    """Renew a lease for its whole time; return whether it is held. Otherwise it is lost."""
    sent_s = now()
    is_there = yield Ask(CALLS.renew(timer.lease), limit_s)
    if is_there:
        timer.extend(sent_s)
        if timer.is_held(now()):
            return True
    timer.lose()
    return False


def renewing(timer: LeaseTimer, now: Clock, shortest_s: float = math.inf) -> Steps[None]:
    """Renew a lease that is due. If its time is over, it is lost. If no node answers, or a node
    refuses, it stays held until its time is over."""
    if timer.is_over:
        return
    limit_s = timer.limit_s(now(), shortest_s)
    if limit_s is None:
        timer.lose()
        return
    try:
        if timer.retires(now()):
            yield Ask(timer.give_back, limit_s)
        elif (yield from confirming(timer, now, limit_s)):
            yield from _repeating(timer, limit_s)
    except (ClientError, OSError):
        timer.retry_soon(now())


def _repeating(timer: LeaseTimer, limit_s: float) -> Steps[None]:
    """Send the requests again that were not answered. A refused one is due again at the next
    renewal."""
    for command in timer.unanswered():
        with contextlib.suppress(Refused):
            yield Ask(Call(command, read_nothing), limit_s)
            timer.answered(command)
