"""The longest silence of a cluster under faults."""

from __future__ import annotations

import threading
import time


class Pulse:
    """The longest time in which no write was acknowledged, and when that was."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.restart()
        self.longest_s = 0.0

    def restart(self) -> None:
        """Start the time now: there were no requests before."""
        self._last = time.monotonic()

    def beat(self, now: float) -> None:
        """Record that a write was acknowledged."""
        with self._lock:
            if now - self._last > self.longest_s:
                self.longest_s = now - self._last
            self._last = max(self._last, now)

    @property
    def silent_s(self) -> float:
        return time.monotonic() - self._last
