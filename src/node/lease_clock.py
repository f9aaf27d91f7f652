"""The time of leases, as the leader counts it. No clock is read here: the caller passes the time.

A lease of SECONDS is due when the leader has counted SECONDS and a tenth, and one millisecond
more. The holder counts SECONDS from an earlier moment: when it first sent the request. So it is
never early, as long as the leader's clock is less than a tenth faster than the holder's. The
millisecond is for rounding: times are whole milliseconds of a clock that goes on between them.

A renewal sets a number in a dict. The heap has one item for each lease, with a time before which
the lease is not due. An item that comes up too early goes back, with the present time. So a renewal
costs the same for any number of leases, and an item passes the heap, in O(log n), once in a
lease's time.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

MARGIN_PERCENT = 10  # clock rates differ by less
ROUNDING_MS = 1
NEVER_MS: Final = 1 << 62
SPARE_ITEMS = 1000  # dead heap items that are kept, beyond one for each live lease


def counted_ms(seconds: int) -> int:
    """Return how long the leader counts for a lease of this many seconds."""
    return seconds * 10 * (100 + MARGIN_PERCENT) + ROUNDING_MS


class LeaseClock:
    """The time at which each lease is due.

    It hears when a lease begins. `seconds_of` gives the time of a lease, and 0 once it has ended:
    that is looked up when the lease is due.
    """

    def __init__(self, seconds_of: Callable[[str], int]) -> None:
        self._seconds_of = seconds_of
        self._due_ms: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []
        self._items_max = SPARE_ITEMS

    def __len__(self) -> int:
        return len(self._heap)

    def clear(self) -> None:
        """Forget every lease."""
        self._due_ms, self._heap, self._items_max = {}, [], SPARE_ITEMS

    def start(self, lease: str, now_ms: int) -> None:
        """Count the whole time of a lease from now on, be it new or renewed."""
        seconds = self._seconds_of(lease)
        if not seconds:
            return
        due_ms = now_ms + counted_ms(seconds)
        if lease not in self._due_ms:
            heappush(self._heap, (due_ms, lease))
        self._due_ms[lease] = due_ms
        if len(self._heap) > self._items_max:
            self._drop_ended()

    @property
    def next_ms(self) -> int:
        """The time before which no lease is due; NEVER_MS without one."""
        return self._heap[0][0] if self._heap else NEVER_MS

    def take_due(self, now_ms: int, most: int) -> list[str]:
        """Return leases that are due and take them from the clock. At most `most` are looked at;
        `next_ms` is when more may be due."""
        due: list[str] = []
        for _ in range(most):
            if self.next_ms > now_ms:
                break
            lease = self._heap[0][1]
            due_ms = self._due_ms[lease]
            if due_ms > now_ms and self._seconds_of(lease):
                heapreplace(self._heap, (due_ms, lease))
                continue
            heappop(self._heap)
            del self._due_ms[lease]
            if self._seconds_of(lease):
                due.append(lease)
        return due

    def left_ms(self, lease: str, now_ms: int) -> int:
        """Return how much is left until a lease is due, and at most its SECONDS: within the margin
        it shows its whole time."""
        whole_ms = 1000 * self._seconds_of(lease)
        due_ms = self._due_ms.get(lease, now_ms + whole_ms)
        return max(0, min(due_ms - now_ms, whole_ms))

    def _drop_ended(self) -> None:
        """Forget leases that have ended: a long one that was released would stay for its time."""
        seconds_of = self._seconds_of
        self._due_ms = {each: at for each, at in self._due_ms.items() if seconds_of(each)}
        self._heap = [(at, each) for each, at in self._due_ms.items()]
        heapify(self._heap)
        self._items_max = 2 * len(self._heap) + SPARE_ITEMS
