"""The choice of steady heartbeats that an observer is told. Pure."""

from __future__ import annotations

from raftline.observe.facts import Step

EVERY_S = 1.0


class Thinning:
    """Tells one step of a cluster at rest a second, and counts the others."""

    def __init__(self, *, is_all: bool) -> None:
        self._is_all = is_all
        self._next_s = 0.0
        self._left_out = 0

    def takes(self, step: Step) -> bool:
        """Whether a step is told."""
        if step.is_idle:
            return False
        if self._is_all or not step.is_pulse:
            return True
        if step.at_s < self._next_s:
            self._left_out += 1
            return False
        self._next_s = step.at_s + EVERY_S
        return True

    def count(self) -> int:
        """Return how many were left out since the last call."""
        count, self._left_out = self._left_out, 0
        return count
