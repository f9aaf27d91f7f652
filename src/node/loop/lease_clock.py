"""The time of leases, as the leader counts it. The caller passes it: this module reads no clock.

A lease of SECONDS is due when the leader has counted 1.1 times SECONDS, plus one millisecond. The
holder counts SECONDS from an earlier moment: when it first sent the request. So the leader is never
early, as long as its clock is less than a tenth faster than the holder's. The millisecond is for
rounding: times are whole milliseconds of a finer clock.

A renewal sets a number in a dict. The heap has one item for each lease, with a time before which
the lease is not due. An item that reaches the top too early goes back with its present due time. So
the cost of a renewal does not depend on the number of leases, and an item moves in the heap, in
O(log n), once in a lease's time.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

MARGIN_PERCENT = 10  # clock rates differ by less
ROUNDING_MS = 1
NEVER_MS: Final = 1 << 62
SPARE_ITEMS = 1000  # dead heap items that are tolerated, in addition to one for each live lease


def counted_ms(ms: int) -> int:
    """Return how long the leader counts for a lease of this many milliseconds."""
    return -(-ms * (100 + MARGIN_PERCENT) // 100) + ROUNDING_MS


class LeaseClock:
    """The time at which each lease is due.

    It is told when a lease begins. `ms_of` gives the time of a lease, and 0 once it has ended: the
    end is looked up when the lease is due.
    """

    def __init__(self, ms_of: Callable[[str], int]) -> None:
        self._ms_of = ms_of
        self._due_ms: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []
        self._items_max = SPARE_ITEMS

    def __len__(self) -> int:
        return len(self._heap)

    def clear(self) -> None:
        """Forget every lease."""
        self._due_ms, self._heap, self._items_max = {}, [], SPARE_ITEMS

    def start(self, lease: str, now_ms: int) -> None:
        """Count the whole time of a new or renewed lease from now on."""
        ms = self._ms_of(lease)
        if not ms:
            return
        due_ms = now_ms + counted_ms(ms)
        if lease not in self._due_ms:
            heappush(self._heap, (due_ms, lease))
        self._due_ms[lease] = due_ms
        if len(self._heap) > self._items_max:
            self._drop_ended()

    @property
    def next_ms(self) -> int:
        """The time before which no lease is due; NEVER_MS without a lease."""
        return self._heap[0][0] if self._heap else NEVER_MS

    def take_due(self, now_ms: int, most: int) -> list[str]:
        """Return leases that are due, and remove them from the clock. At most `most` are checked;
        `next_ms` is when more may be due."""
        due: list[str] = []
        for _ in range(most):
            if self.next_ms > now_ms:
                break
            lease = self._heap[0][1]
            due_ms = self._due_ms[lease]
            if due_ms > now_ms and self._ms_of(lease):
                heapreplace(self._heap, (due_ms, lease))
                continue
            heappop(self._heap)
            del self._due_ms[lease]
            if self._ms_of(lease):
                due.append(lease)
        return due

    def left_ms(self, lease: str, now_ms: int) -> int:
        """Return the time until a lease is due, but at most its SECONDS: during the margin at the
        beginning the result is its whole time."""
        whole_ms = self._ms_of(lease)
        due_ms = self._due_ms.get(lease, now_ms + whole_ms)
        return max(0, min(due_ms - now_ms, whole_ms))

    def _drop_ended(self) -> None:
        """Forget leases that have ended: a long lease that was released would stay in the heap for
        its whole time."""
        ms_of = self._ms_of
        self._due_ms = {each: at for each, at in self._due_ms.items() if ms_of(each)}
        self._heap = [(at, each) for each, at in self._due_ms.items()]
        heapify(self._heap)
        self._items_max = 2 * len(self._heap) + SPARE_ITEMS
