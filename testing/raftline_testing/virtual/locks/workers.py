"""Simulated programs that put jobs into a queue and work on them, in schedules of faults.

The operations are those of `kv.queue()` (`clients/locks/queue_steps.py`). Each acknowledged job is
delivered until it is done, nobody holds a job that another program holds, and a job is done once.
"""

from __future__ import annotations

import contextlib
from typing import Any

from raftline.clients.calls.kv_errors import LeaseLost
from raftline.clients.calls.transaction import Transaction, itself
from raftline.clients.calls.value_codec import TEXT
from raftline.clients.locks.queue_steps import BaseJob, QueueState, TakeSteps
from raftline.clients.requests.node_connection import ClientError, OutcomeUnknown
from raftline.clients.requests.steps import carry_out_awaiting

from ..world.coroutines import shielded
from .lockers import HOLD_S, SHORT_S, WAITS_S, Locker, SimulatedHeld, SimulatedLease, SimulatedLock

QUEUE = "jobs"
FATES = ("is done", "is done", "is given back", "dies", "is revoked")


class SimulatedJob(BaseJob[SimulatedLease, str], SimulatedHeld):
    """A job of a simulated program."""

    @property
    def is_broken(self) -> bool:
        """Whether its lease may have been revoked."""
        return self._lease.is_broken


class SimulatedTake(TakeSteps[str, SimulatedJob], SimulatedLock):
    """One take of a simulated program."""

    _held_class: Any = SimulatedJob


class Worker(Locker):
    """A program whose tasks put jobs into a queue, or work on them."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._jobs = self.check.jobs
        self._queue = QueueState(QUEUE, None, TEXT)
        self._seconds = self.chance.choice((1, 2))

    async def _takes_a_lock(self) -> None:
        for _ in range(self.chance.randint(0, 3)):
            with contextlib.suppress(ClientError):
                steps = self._queue.put(self.name)
                self._jobs.acknowledged(await carry_out_awaiting(steps, self._ask_step))
                self.world.counts["jobs put"] += 1
        for _ in range(self.chance.randint(1, 3)):
            await self._works(self.chance.choice(WAITS_S[:-1]))

    def begin_last_round(self) -> None:
        super().begin_last_round()
        self._last_round = [self._take()]

    def _take(self) -> SimulatedTake:
        take = SimulatedTake(self, self._queue.keys, self._seconds)
        take._state = self._queue
        return take

    async def _takes(self, lock: SimulatedLock, wait_s: float | None) -> None:
        """Work until every acknowledged job is done: the last round."""
        while self._jobs.open and self._last_round is not None:
            await self._works(1.0)

    async def _works(self, wait_s: float | None) -> None:
        take = self._take()
        job: Any = None
        try:
            job = await take.carry_out(take._acquiring(self.name, wait_s, -1))
        except ClientError:
            self.world.counts["takes in vain"] += 1
            await self.sleep(SHORT_S)
        if job is not None:
            self._jobs.taken(job)
            self.world.counts["jobs taken"] += 1
            self.world.counts["jobs taken again"] += job.deliveries > 1
            await self._ends(take, job)

    async def _ends(self, take: SimulatedTake, job: SimulatedJob) -> None:
        fate = "is done" if self._last_round is not None else self.chance.choice(FATES)
        try:
            await self.sleep(HOLD_S * self.chance.random())
            if fate == "is revoked":
                await self._revoke(job._lease)
            if fate in ("is done", "is revoked"):
                await shielded(self._finish(take, job))
        except ClientError:
            pass
        finally:
            if fate == "dies":
                job._lease._lose()
            elif not job._is_released:
                with contextlib.suppress(ClientError):
                    await shielded(take.carry_out(job._releasing()))

    async def _finish(self, take: SimulatedTake, job: SimulatedJob) -> None:
        """End a job, and count it in the same step."""
        is_surely_lost = job._lease.is_surely_broken
        counted = Transaction(TEXT, itself).then.incr("jobs done")
        try:
            outcome = await take.carry_out(job._finishing(counted))
        except OutcomeUnknown:
            self._jobs.may_have_ended(job)
        except LeaseLost:
            self.world.counts["jobs lost"] += 1
        else:
            assert outcome, f"{job} is held, and its end is refused"
            assert not is_surely_lost, f"{job} was revoked, and is done"
            self._jobs.ended(job)
            self.world.counts["jobs done"] += 1
