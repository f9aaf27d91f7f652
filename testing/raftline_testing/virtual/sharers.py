"""Simulated programs that share locks and hold semaphores, in addition to programs with exclusive
locks."""

from __future__ import annotations

from typing import Any

from raftline.clients.locks.contest import LOCKS, LockKeys, SharedKeys, Slots

from .lockers import WAITS_S, Locker, SimulatedLease, SimulatedLock

LIMIT = 2
DOOR, SHARED, POOL = LockKeys(LOCKS, "door"), SharedKeys("door"), Slots("pool", LIMIT)


class _NoLine:
    """Callers that may all hold an object at once."""

    def comes(self, caller: object) -> None: ...
    def leaves(self, caller: object) -> None: ...
    def wins(self, caller: object) -> None: ...


class SharedLock(SimulatedLock):
    """A lock, a shared lock or a semaphore of a simulated program."""

    def __init__(self, program: Locker, keys: LockKeys, seconds: int) -> None:
        super().__init__(program, keys.name, seconds)
        self._keys = keys
        self._begin_anew()
        self._won: list[SimulatedLease] = []
        if keys.is_for_many:
            self.line: Any = _NoLine()

    def won(self, token: int) -> SimulatedLease:
        lease = self._my_lease()
        assert self.token == token
        self._won = [each for each in self._won if each.is_held] + [lease]
        limit = LIMIT if self._keys is POOL else 1
        self._program.check.won(self.name, token, lease, self._keys is SHARED, limit)
        return lease

    def _lost(self) -> None:
        lost = [each for each in self._won if each.was_lost and not each.is_reported]
        assert lost, "the loss of a lock is reported that was not held"
        for lease in lost:
            lease.is_reported = True
        self._program.world.counts["locks lost"] += 1


class Sharer(Locker):
    """A program whose tasks share the lock that others want exclusively, and hold a semaphore."""

    ends = ("releases", "releases", "checks", "dies", "is revoked", "forgets")
    last_requests = 10  # also the read before a try, and the requests that delete a mark

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        kinds = (DOOR, SHARED, SHARED, POOL)
        self._shared = [SharedLock(self, keys, self.chance.choice((1, 2))) for keys in kinds]

    async def _takes_a_lock(self) -> None:
        await self._takes(self.chance.choice(self._shared), self.chance.choice(WAITS_S))

    def begin_last_round(self) -> None:
        super().begin_last_round()
        self._last_round = [*self._shared]
