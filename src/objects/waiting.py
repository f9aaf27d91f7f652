"""Waiting that ends in time, and as soon as nobody wants to know any more."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

PAUSES_S = (0.02, 0.25)  # first and longest between two looks
_of_this_thread = threading.local()


class Waiting:
    """Pauses that grow, until the time is over or the thread's work was given up."""

    def __init__(self, block: bool = True, timeout: float | None = None) -> None:
        """Wait at most `timeout` seconds, None: for ever; not at all where `block` is false."""
        if timeout is not None and timeout < 0:
            raise ValueError("a timeout is not below 0")
        self._end_s = math.inf if timeout is None else time.monotonic() + timeout
        self._block = block
        self._pause_s = PAUSES_S[0]

    def pauses(self) -> bool:
        """Pause, and return True; or return False at once where the time is over."""
        pause_s = min(self._pause_s, self._left_s())
        self._pause_s = min(2 * self._pause_s, PAUSES_S[1])
        if pause_s > 0:
            given_up().wait(pause_s)
        return pause_s > 0

    def gets(self, lock: threading.Lock) -> bool:
        """Get a lock of this program; return whether that came in time."""
        while not lock.acquire(timeout=max(0.0, min(PAUSES_S[1], self._left_s()))):
            if self._left_s() <= 0:
                return False
        return True

    def until(self, changed: threading.Condition, holds: Callable[[], bool]) -> bool:
        """Wait, with `changed` held, until `holds` is true; return whether it was in time."""
        while not holds():
            left_s = self._left_s()
            if left_s <= 0:
                return False
            changed.wait(min(PAUSES_S[1], left_s))
        return True

    def _left_s(self) -> float:
        if not self._block or given_up().is_set():
            return 0.0
        return self._end_s - time.monotonic()


def given_up() -> threading.Event:
    """Return what is set once nobody waits any more for what this thread does."""
    event: threading.Event | None = getattr(_of_this_thread, "given_up", None)
    if event is None:
        event = threading.Event()
        give_up_with(event)
    return event


def give_up_with(event: threading.Event) -> None:
    """Let what this thread waits for end when `event` is set."""
    _of_this_thread.given_up = event


def time_limit(timeout: float) -> float:
    """Return a time limit in seconds. Raises TypeError, ValueError where it can't be one."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"a timeout is a number of seconds, not {type(timeout).__name__}")
    if not 0 < timeout <= threading.TIMEOUT_MAX:
        raise ValueError(f"a timeout of {timeout} s is no time: say how many seconds, above 0")
    return float(timeout)
