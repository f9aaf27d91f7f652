"""The sleep of the thread that keeps time: until when, and what ends it earlier."""

from __future__ import annotations

import math
from collections.abc import Callable


class OwnerSleep:
    """Until when the driver's owner thread sleeps, and its earlier end.

    The owner sets these under the driver's `core` lock. Any thread may look at them: it may be
    a moment old, and then wakes the owner for nothing.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` ends the sleep, or the next one before it begins."""
        self.wake = wake
        self.until_s = 0.0  # by the clock's now_s; 0: awake
        self.until_ms = 0  # the deadline among its reasons, by the clock's now_ms
        self.is_for_a_group = False  # it ends when requests that gather are to be served

    def begin(self) -> None:
        """Have each request wake the owner, until it is known how long this sleep may be."""
        self.is_for_a_group, self.until_s = False, math.inf

    def end(self) -> None:
        """Record that the owner is awake."""
        self.until_s, self.until_ms = 0.0, 0
