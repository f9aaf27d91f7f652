"""A wakeup: one thread waits until another sets it. Pauses in long work."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

LOOK_S = 1.0  # between two looks at a flag
PAUSE_S = 0.0005  # lets another thread run: a mere offer (sleep(0)) is not enough
PAUSE_FACTOR = 2  # seconds of pause for each second of work


class Wakeup:
    """A bare lock, set from any thread: set twice before the sleeper woke, it wakes it once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, timeout_s: float = -1) -> bool:
        """Wait until it is set, or was set since the last wait. Return whether that was in time;
        -1: no limit."""
        return self._lock.acquire(timeout=timeout_s)

    def set(self) -> None:
        """Wake the thread that waits."""
        try:
            self._lock.release()
        except RuntimeError:  # it is awake already
            return


class Flag:
    """An event that a signal handler may set, also in the midst of a wait for it by the same
    thread: `threading.Event` would hang then. Such a wait ends within a second."""

    def __init__(self) -> None:
        self._is_set = False
        self._changed = threading.Condition()  # reentrant

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        """Wake all threads that wait, and those that will."""
        self._is_set = True
        with self._changed:
            self._changed.notify_all()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is set; return whether that was in time. None: no limit."""
        until_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while not self._is_set and (left_s := until_s - time.monotonic()) > 0:
                self._changed.wait(min(LOOK_S, left_s))
        return self._is_set


Breathe = Callable[[], None]  # yields to other threads


def no_pause() -> None:
    """Do not pause: the work is short, or nobody else has any."""


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
