"""Simulated programs that share locks and hold semaphores, in addition to programs with exclusive
locks."""

from __future__ import annotations

from typing import Any

from raftline.recipes.locks.lock_keys import LOCKS, LockKeys, SharedKeys, Slots

from .lockers import WAITS_S, Locker, SimulatedLock

LIMIT = 2
DOOR, SHARED, POOL = LockKeys(LOCKS, "door"), SharedKeys("door"), Slots("pool", LIMIT)


class Sharer(Locker):
    """A program whose tasks share the lock that others want exclusively, and hold a semaphore."""

    ends = ("releases", "releases", "checks", "dies", "is revoked", "forgets")
    last_requests = 4  # also the read before a try

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        kinds = (DOOR, SHARED, SHARED, POOL)
        self._shared = [SimulatedLock(self, keys, self.chance.choice((1, 2))) for keys in kinds]

    async def _takes_a_lock(self) -> None:
        await self._takes(self.chance.choice(self._shared), self.chance.choice(WAITS_S))

    def begin_last_round(self) -> None:
        super().begin_last_round()
        self._last_round = [*self._shared]
