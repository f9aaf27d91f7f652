"""A simulated node's clock, which runs at its own pace, and its alarm."""

from __future__ import annotations

from collections.abc import Callable

from raftline.node import clock

from .world import World


class Clock(clock.Clock):
    """Milliseconds from `start_ms` on, at a pace in permille of the world's; one alarm at a
    time."""

    def __init__(
        self, world: World, name: str, start_ms: int, permille: int, ring: Callable[[], None]
    ) -> None:
        self._world = world
        self._name = name
        self._ring = ring
        self.start_ms = start_ms
        self.permille = permille
        self.jumps = 0
        self.spent_s = 0.0  # spent on slow entries: the world does not wait for these
        self._rings_at_ms = -1  # by the world's clock; -1: no alarm is set
        self._alarms = 0  # an earlier one is ignored

    def now_ms(self) -> int:
        return self.start_ms + self._world.now_ms * self.permille // 1000

    def now_s(self) -> float:
        now_ms = self.start_ms + self._world.now_ms * self.permille // 1000
        return now_ms / 1000 + self.spent_s

    def day_s(self) -> float:
        return self.now_s()

    def used_s(self) -> float:
        return 0.0

    def jump(self, ahead_ms: int) -> None:
        """Jump ahead, as after the machine slept. A pending alarm rings no earlier, like a timer of
        such a machine."""
        self.start_ms += ahead_ms
        self.jumps += 1

    def world_ms(self, at_ms: int) -> int:
        """Return the world's time at which this clock shows `at_ms`, now if that is past."""
        ahead_ms = (at_ms - self.start_ms) * 1000
        return max(self._world.now_ms, -(-ahead_ms // self.permille))

    def wake_at(self, at_ms: int) -> None:
        """Ring when this clock shows `at_ms`, or earlier if an earlier alarm is set."""
        rings_at_ms = self.world_ms(at_ms)
        now_ms = self._world.now_ms
        if not now_ms <= self._rings_at_ms <= rings_at_ms:
            self._rings_at_ms = rings_at_ms
            self._alarms += 1
            self._world.wake(self._name, rings_at_ms - now_ms, self._alarm, self._alarms)

    def forget(self) -> None:
        """Cancel the alarm."""
        self._rings_at_ms = -1
        self._alarms += 1

    def _alarm(self, number: int) -> None:
        if number == self._alarms:
            self._rings_at_ms = -1
            self._ring()
