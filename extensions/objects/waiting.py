"""Waits of objects that end in time."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from raftline.clients.calls.wait_times import end_of_wait
from raftline.clients.leases.lease_timer import LEAST_S
from raftline.clients.requests.times import Seconds

PAUSES_S = (0.02, 0.25)  # the first and the longest pause between two checks


class Waiting:
    """Growing pauses, until the time is over."""

    def __init__(self, block: bool = True, timeout: Seconds | None = None) -> None:
        """Set a wait of at most `timeout` seconds, forever with None; without `block`, do not
        wait."""
        self._began_s = time.monotonic()
        end_s = end_of_wait(timeout, self._began_s)
        if end_s is not None and end_s < self._began_s:
            raise ValueError("a timeout can't be negative")
        self._end_s = math.inf if end_s is None else end_s
        self._block = block
        self._pause_s = PAUSES_S[0]

    def pauses(self) -> bool:
        """Pause and return True; return False at once if the time is over."""
        pause_s = min(self._pause_s, self._left_s())
        self._pause_s = min(2 * self._pause_s, PAUSES_S[1])
        if pause_s > 0:
            time.sleep(pause_s)
        return pause_s > 0

    def until(self, changed: threading.Condition, holds: Callable[[], bool]) -> bool:
        """Wait, with `changed` held, until `holds` is true; return whether that happened in
        time."""
        while not holds():
            left_s = self._left_s()
            if left_s <= 0:
                return False
            changed.wait(min(PAUSES_S[1], left_s))
        return True

    def limit_s(self, request_s: float | None) -> float | None:
        """Return the time limit of a request, which is at most the remaining wait. `request_s` is
        the request's own limit, which counts alone if there is no wait."""
        if not self._block or self._end_s in (self._began_s, math.inf):
            return request_s
        left_s = max(LEAST_S, self._end_s - time.monotonic())
        return left_s if request_s is None else min(left_s, request_s)

    def _left_s(self) -> float:
        if not self._block:
            return 0.0
        return self._end_s - time.monotonic()
