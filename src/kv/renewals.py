"""The order in which one thread renews many leases. Pure.

Of those that are due, the one comes first that would be lost first (earliest deadline first).
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter

from raftline.kv.holding import Holding

_Item = tuple[float, int, Holding]


class Renewals:
    """The leases that are kept, and which of them is renewed next."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._begin()

    def _begin(self) -> None:
        self._kept: set[Holding] = set()
        self._lengths: Counter[int] = Counter()  # the seconds of those that are kept
        self._waiting: list[_Item] = []  # by when they are due
        self._due: list[_Item] = []  # by when they would be lost

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

    def add(self, holding: Holding) -> None:
        """Keep a lease from now on."""
        self._kept.add(holding)
        self._lengths[holding.seconds] += 1
        self.put_back(holding)

    def put_back(self, holding: Holding) -> None:
        """Wait again for a lease that was taken, if it is still kept."""
        if holding in self._kept:
            heapq.heappush(self._waiting, (holding.due_s, next(self._numbers), holding))

    def drop(self, holding: Holding) -> None:
        """Keep a lease no more."""
        if holding in self._kept:
            self._kept.remove(holding)
            self._lengths[holding.seconds] -= 1
            if not self._lengths[holding.seconds]:
                del self._lengths[holding.seconds]

    def drop_all(self) -> list[Holding]:
        """Keep none any more; return those that were kept."""
        kept = list(self._kept)
        self._begin()
        return kept

    def take(self, now_s: float) -> Holding | None:
        """Take the lease that is to be renewed now; None: none is due."""
        while self._waiting and self._waiting[0][0] <= now_s:
            holding = heapq.heappop(self._waiting)[2]
            if holding.due_s > now_s:  # it was renewed by the way
                self.put_back(holding)
            else:
                heapq.heappush(self._due, (holding.until_s, next(self._numbers), holding))
        while self._due:
            holding = heapq.heappop(self._due)[2]
            if holding in self._kept and holding.due_s <= now_s:
                return holding
            self.put_back(holding)
        return None
