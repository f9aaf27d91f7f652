"""A simulated node's clock, which runs at its own pace, and the alarm that is set by it."""

from __future__ import annotations

from collections.abc import Callable

from tests.virtual.plan import Plan
from tests.virtual.world import World


class Clock:
    """Milliseconds from anywhere, at 90 to 110 percent of the world's; one alarm at a time."""

    def __init__(self, world: World, plan: Plan, ring: Callable[[], None]) -> None:
        self._world = world
        self._ring = ring
        self._start_ms = world.random.randint(0, 10_000)
        self._permille = 1000 if plan.steady_clocks else world.random.randint(900, 1100)
        self._rings_at_ms = -1  # by the world's clock; -1: no alarm is set
        self._alarms = 0  # an earlier one rings for nobody

    def now_ms(self) -> int:
        return self._start_ms + self._world.now_ms * self._permille // 1000

    def wake_at(self, at_ms: int) -> None:
        """Ring when this clock shows `at_ms`, or earlier, where the alarm was set so before."""
        ahead_ms = (at_ms - self._start_ms) * 1000
        rings_at_ms = max(self._world.now_ms, -(-ahead_ms // self._permille))
        if not self._world.now_ms <= self._rings_at_ms <= rings_at_ms:
            self._rings_at_ms = rings_at_ms
            self._alarms += 1
            self._world.after(rings_at_ms - self._world.now_ms, self._alarm, self._alarms)

    def forget(self) -> None:
        """Let no alarm be set."""
        self._rings_at_ms = -1
        self._alarms += 1

    def _alarm(self, number: int) -> None:
        if number == self._alarms:
            self._rings_at_ms = -1
            self._ring()
