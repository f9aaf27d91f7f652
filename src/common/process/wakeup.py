"""A wakeup, for which one thread waits until another sets it, and pauses in long work."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

CHECK_S = 1.0  # between two checks of a flag
PAUSE_S = 0.0005  # lets another thread run, for which sleep(0) is not enough
PAUSE_FACTOR = 2  # seconds of pause for each second of work


class Wakeup:
    """A wakeup for one thread, which any thread may set. It is a bare lock. If it is set twice
    before the sleeper wakes, the sleeper wakes once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, timeout_s: float = -1) -> bool:
        """Wait until the wakeup is set, or return at once if it was set since the last wait. Return
        whether it was set in time; -1 means no limit."""
        return self._lock.acquire(timeout=timeout_s)

    def set(self) -> None:
        """Wake the waiting thread."""
        try:
            self._lock.release()
        except RuntimeError:  # it is awake already
            return


class Flag:
    """An event that a signal handler may set, even while the same thread is entering a wait for it,
    in which case `threading.Event` would hang. Such a wait ends within a second."""

    def __init__(self) -> None:
        self._is_set = False
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        """Wake all waiting threads, and let later waits return at once."""
        self._is_set = True
        with self._lock:  # not the Condition, whose `__enter__` a signal handler may interrupt
            self._changed.notify_all()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the flag is set; return whether it was set in time. None means no limit."""
        until_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
        with self._lock:
            while not self._is_set and (left_s := until_s - time.monotonic()) > 0:
                self._changed.wait(min(CHECK_S, left_s))
        return self._is_set


PauseFunction = Callable[[], None]  # gives other threads time to run


def no_pause() -> None:
    """Do not pause: the work is short, or no other thread has work."""


def give_way() -> None:
    """Give other threads time to run during long work."""
    time.sleep(PAUSE_S)


class Pauses:
    """The pauses in the long work of one thread, in which the threads that serve clients run."""

    def __init__(self) -> None:
        self._cpu_s = _thread_time()

    def pause(self) -> None:
        """Pause for a multiple of the processor time since the last pause."""
        time.sleep(max(PAUSE_S, PAUSE_FACTOR * (_thread_time() - self._cpu_s)))
        self._cpu_s = _thread_time()


def _thread_time() -> float:
    """Return the processor time of this thread. CPython in WebAssembly has one thread, and no
    separate clock for it."""
    return time.thread_time() if hasattr(time, "thread_time") else time.process_time()
