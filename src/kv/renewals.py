"""The renewals of leases: a machine (`steps.py`), and the order in which it renews many. Pure.

A thread carries it out for all leases of a client, a task of asyncio for one. Of the due leases,
the one that would be lost first is renewed first (earliest deadline first).
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Generator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from .calls import Ask
from .lease_timer import Clock, LeaseTimer, renewing

_Item = tuple[float, int, LeaseTimer]


class UntilDue(NamedTuple):
    """A step: wait until a lease is due, or the leases that are kept have changed."""


class Renewals:
    """The leases that are kept, and which of them is renewed next."""

    is_carried_out = False  # whether a thread or a task renews them
    is_asking = False  # whether a renewal is under way

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._begin()

    def _begin(self) -> None:
        self._kept: set[LeaseTimer] = set()
        self._lengths: Counter[int] = Counter()  # leases kept, by their seconds
        self._waiting: list[_Item] = []  # not due yet, by their due time
        self._due: list[_Item] = []  # due, by the time at which they are lost

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def shortest_s(self) -> float:
        """The seconds of the shortest lease that is kept."""
        return min(self._lengths, default=math.inf)

    @property
    def due_s(self) -> float:
        """The time at which `take` has one."""
        return -math.inf if self._due else self._waiting[0][0] if self._waiting else math.inf

    def add(self, timer: LeaseTimer) -> None:
        """Keep a lease from now on."""
        self._kept.add(timer)
        self._lengths[timer.seconds] += 1
        self.put_back(timer)

    def put_back(self, timer: LeaseTimer) -> None:
        """Wait again for a lease that was taken, if it is still kept."""
        if timer in self._kept:
            heapq.heappush(self._waiting, (timer.due_s, next(self._numbers), timer))

    def drop(self, timer: LeaseTimer) -> None:
        """Keep a lease no more."""
        if timer in self._kept:
            self._kept.remove(timer)
            self._lengths[timer.seconds] -= 1
            if not self._lengths[timer.seconds]:
                del self._lengths[timer.seconds]

    def drop_all(self) -> list[LeaseTimer]:
        """Keep none any more; return those that were kept."""
        kept = list(self._kept)
        self._begin()
        return kept

    def take(self, now_s: float) -> LeaseTimer | None:
        """Take the lease that is to be renewed now; None: none is due."""
        while self._waiting and self._waiting[0][0] <= now_s:
            timer = heapq.heappop(self._waiting)[2]
            if timer.due_s > now_s:  # it was renewed meanwhile, by `check`
                self.put_back(timer)
            else:
                heapq.heappush(self._due, (timer.until_s, next(self._numbers), timer))
        while self._due:
            timer = heapq.heappop(self._due)[2]
            if timer in self._kept and timer.due_s <= now_s:
                return timer
            self.put_back(timer)
        return None


def keeping(
    renewals: Renewals, now: Clock, mutex: AbstractContextManager[Any]
) -> Generator[Ask | UntilDue, Any, None]:
    """Renew leases as they are due, until none is kept. An error in one renewal is logged, and
    ends no other. `mutex` is held while `renewals` is used."""
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
