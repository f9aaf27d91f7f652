"""Turns at costly work that any client can ask for: one at a time, and few may wait."""

from __future__ import annotations

import threading
from collections import deque

from raftline.common.wakeup import Wakeup


class Turns:
    """One thread at a time has its turn, in the order in which they came; few may wait for it."""

    def __init__(self, waiting_max: int) -> None:
        self._waiting_max = waiting_max
        self._lock = threading.Lock()
        self._present: deque[Wakeup] = deque()  # the thread with the turn, then those that wait

    def take(self) -> bool:
        """Wait for a turn, which `end` ends; return False at once if too many wait already."""
        mine = Wakeup()
        with self._lock:
            if len(self._present) > self._waiting_max:
                return False
            self._present.append(mine)
            is_next = len(self._present) == 1
        return is_next or mine.wait()

    def end(self) -> None:
        """End the turn of the thread that has it, and begin the next one's."""
        with self._lock:
            self._present.popleft()
            if self._present:
                self._present[0].set()
