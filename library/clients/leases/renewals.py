"""The renewals of leases: a machine (`steps.py`), and the order in which it renews many leases.
Pure.

A thread carries it out for all leases of a client, an asyncio task for one lease. Of the due
leases, the lease that would be lost first is renewed first (earliest deadline first).
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Generator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from ..calls.calls import Ask
from .lease_timer import Clock, LeaseTimer, renewing

_Item = tuple[float, int, LeaseTimer]


class UntilDue(NamedTuple):
    """A step: wait until a lease is due, or the set of kept leases has changed."""


class Renewals:
    """The leases to renew, and their order."""

    is_carried_out = False  # whether a thread or a task renews them
    is_asking = False  # whether a renewal is in progress

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._begin()

    def _begin(self) -> None:
        self._kept: dict[LeaseTimer, int] = {}  # and the number of its item that counts
        self._lengths: Counter[float] = Counter()  # leases kept, by their seconds
        self._waiting: list[_Item] = []  # not due yet, by their due time
        self._due: list[_Item] = []  # due, by the time at which they would be lost

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def shortest_s(self) -> float:
        """The seconds of the shortest kept lease."""
        return min(self._lengths, default=math.inf)

    @property
    def due_s(self) -> float:
        """The time from which `take` returns a lease."""
        return -math.inf if self._due else self._waiting[0][0] if self._waiting else math.inf

    def add(self, timer: LeaseTimer) -> None:
        """Start renewing a lease."""
        self._kept[timer] = 0
        self._lengths[timer.seconds] += 1
        self.put_back(timer)

    def put_back(self, timer: LeaseTimer) -> None:
        """Queue a lease again that was taken, or that is due earlier now, if it is still kept."""
        if timer in self._kept:
            self._kept[timer] = number = next(self._numbers)
            heapq.heappush(self._waiting, (timer.due_s, number, timer))

    def drop(self, timer: LeaseTimer) -> None:
        """Stop renewing a lease."""
        if timer in self._kept:
            del self._kept[timer]
            self._lengths[timer.seconds] -= 1
            if not self._lengths[timer.seconds]:
                del self._lengths[timer.seconds]

    def drop_all(self) -> list[LeaseTimer]:
        """Stop renewing all leases; return them."""
        timers = list(self._kept)
        self._begin()
        return timers

    def take(self, now_s: float) -> LeaseTimer | None:
        """Take the lease to renew now; return None if no lease is due."""
        while self._waiting and self._waiting[0][0] <= now_s:
            _, number, timer = heapq.heappop(self._waiting)
            if self._kept.get(timer) != number:
                continue
            if timer.due_s > now_s:  # `check` renewed it meanwhile
                self.put_back(timer)
            else:
                heapq.heappush(self._due, (timer.until_s, number, timer))
        while self._due:
            _, number, timer = heapq.heappop(self._due)
            if self._kept.get(timer) == number and timer.due_s <= now_s:
                return timer
            if self._kept.get(timer) == number:
                self.put_back(timer)
        return None


def keeping(
    renewals: Renewals, now: Clock, mutex: AbstractContextManager[Any]
) -> Generator[Ask | UntilDue, Any, None]:
    """Renew leases when they are due, until no lease is kept. An error in one renewal is logged,
    and does not end the others. `mutex` is held while `renewals` is used."""
    while True:
        with mutex:
            timer = renewals.take(now())
            renewals.is_asking = timer is not None
            renewals.is_carried_out = len(renewals) > 0
            shortest_s = renewals.shortest_s
        if timer is not None:
            try:
                yield from renewing(timer, now, shortest_s)
            except Exception:
                timer.report(now())
            with mutex:
                renewals.put_back(timer)
        elif renewals.is_carried_out:
            yield UntilDue()
        else:
            return
