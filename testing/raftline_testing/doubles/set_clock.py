"""A node's clock that a test sets."""

from __future__ import annotations

from raftline.node.clock import Clock


class SetClock(Clock):
    """A clock that shows `ms` for deadlines, and measures durations by `s`, or in real time if that
    is None."""

    def __init__(self, ms: int = 0, s: float | None = None) -> None:
        self.ms = ms
        self.s = s

    def now_ms(self) -> int:
        return self.ms

    def now_s(self) -> float:
        return super().now_s() if self.s is None else self.s
