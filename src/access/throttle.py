"""Turns for costly work that any client can request: one at a time, with few waiters."""

from __future__ import annotations

import threading
from bisect import bisect_right

from ..common.process.wakeup import Wakeup


class _Waiter:
    """A thread that waits for its turn."""

    def __init__(self, rank: tuple[int, int]) -> None:
        self.rank = rank
        self.is_refused = False
        self.wakeup = Wakeup()


class Throttle:
    """A lock with ranks. The other threads wait in order of rank, and within a rank in order of
    arrival. The number of waiters is limited: beyond it, the last in order is refused."""

    def __init__(self, waiting_max: int) -> None:
        self._waiting_max = waiting_max
        self._lock = threading.Lock()
        self._present: list[_Waiter] = []  # the thread with the turn, then the waiting ones

    def take(self, rank: tuple[int, int] = (0, 0)) -> bool:
        """Wait for a turn, which `end` ends. Return False if too many threads are ahead."""
        mine = _Waiter(rank)
        with self._lock:
            ranks = [other.rank for other in self._present[1:]]
            place = bisect_right(ranks, rank) + 1
            self._present.insert(place, mine)
            if self._present[0] is mine:
                return True
            if len(self._present) > 1 + self._waiting_max:
                last = self._present.pop()
                last.is_refused = True
                last.wakeup.set()
        mine.wakeup.wait()
        return not mine.is_refused

    def end(self) -> None:
        """End the current turn and begin the next one."""
        with self._lock:
            del self._present[0]
            if self._present:
                self._present[0].wakeup.set()
