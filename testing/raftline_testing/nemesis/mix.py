"""The requests of clients, and the notes on them beside the history."""

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
    cas: float = 0.0  # how many of all requests
    numbered: float = 0.0  # how many of the other writes carry a number and are sent again
    reads: Sequence[str] = ("",)  # what stands after a get; `local` is asked and not judged
    beat_s: float = 0.0  # all clients ask at once, so often; 0: as fast as answers come
    patience_s: float = 8.0  # then a client gives up on a reply: the outcome is unknown
    padding: int = 0  # bytes after one value in ten


class Pulse:
    """Knows the longest time in which no write was acknowledged, and when that was."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.restart()
        self.longest_s = 0.0

    def restart(self) -> None:
        """Let the time begin now: nobody asked before."""
        self._last = time.monotonic()

    def beat(self, now: float) -> None:
        """A write was acknowledged."""
        with self._lock:
            if now - self._last > self.longest_s:
                self.longest_s = now - self._last
            self._last = max(self._last, now)

    @property
    def silent_s(self) -> float:
        return time.monotonic() - self._last
