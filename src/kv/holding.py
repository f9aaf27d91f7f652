"""The time for which a lease is held, as its holder counts it.

A holder counts from the moment at which it first **sent** the request that was answered, never
from the answer, which may have come late (docs/use/leases.md has the argument).
"""

from __future__ import annotations

import time

RENEWALS = 3  # in the time of a lease
RETRY_S = 0.2  # behind a renewal that failed


def clock() -> float:
    """Return seconds of a clock that goes on while the machine sleeps, where there is one."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Holding:
    """One lease that was granted, and until when its holder may believe in it."""

    def __init__(self, lease: str, seconds: int, sent_s: float) -> None:
        """Hold a lease whose grant was first sent at that time."""
        self.lease = lease
        self.seconds = seconds
        self.is_over = False  # released, or known to have ended
        self._until_s = sent_s + seconds
        self.renew_at_s = sent_s + seconds / RENEWALS

    @property
    def until_s(self) -> float:
        """The moment from which on it may be somebody else's."""
        return self._until_s

    def is_held(self, now_s: float) -> bool:
        return not self.is_over and now_s < self._until_s

    def renewed(self, sent_s: float) -> None:
        """Take note of a renewal that was first sent at that time, and granted."""
        self._until_s = max(self._until_s, sent_s + self.seconds)
        self.renew_at_s = sent_s + self.seconds / RENEWALS

    def not_renewed(self, now_s: float) -> None:
        """Take note of a renewal that got no answer: ask again soon."""
        self.renew_at_s = now_s + RETRY_S
