"""The requests of clients, and the records of them besides the history."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Mix:
    """The requests of clients. Keys and counters begin with `prefix`. So each part of a long run
    has its own, and its history can be judged alone."""

    keys: int = 3
    prefix: str = ""
    counters: int = 0
    cas: float = 0.0  # share of all requests
    numbered: float = 0.0  # share of the other writes that carry a number and are retried
    reads: Sequence[str] = ("",)  # the words after a get; `local` reads are sent but not judged
    beat_s: float = 0.0  # interval at which all clients ask at once; 0: as fast as answers come
    patience_s: float = 8.0  # then a client gives up on a reply, with an unknown outcome
    padding: int = 0  # bytes after one value in ten


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
