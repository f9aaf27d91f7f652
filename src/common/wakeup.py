"""A wakeup: one thread sleeps on it until another has something for it. Pauses in long work."""

from __future__ import annotations

import threading
import time

PAUSE_S = 0.0005  # in which another thread takes its turn: to offer it one is not enough
PAUSE_FACTOR = 2  # paused this many times as long as was computed


class Wakeup:
    """A bare lock, set from any thread: set twice before the sleeper woke, it wakes it once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, timeout_s: float = -1) -> bool:
        """Sleep until it is set, or has been since the last time; return whether it was, in time.
        -1: for as long as it takes."""
        return self._lock.acquire(timeout=timeout_s)

    def set(self) -> None:
        """Wake the thread that waits."""
        try:
            self._lock.release()
        except RuntimeError:  # it is awake already
            return


def give_way() -> None:
    """Let other threads run, in the midst of long work."""
    time.sleep(PAUSE_S)


class Breather:
    """The pauses in long work of one thread, so that the others, which serve clients, run."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Count the processor time of this thread from here on."""
        self._cpu_s = time.thread_time()

    def breathe(self) -> None:
        """Pause for a multiple of the processor time since the last pause."""
        time.sleep(max(PAUSE_S, PAUSE_FACTOR * (time.thread_time() - self._cpu_s)))
        self.begin()
