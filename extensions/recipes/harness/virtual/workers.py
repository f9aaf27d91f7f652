"""Simulated programs that put jobs into a queue and work on them, in schedules of faults.

The operations are those of `kv.queue()` (`recipes/queues/queue_steps.py`). Each acknowledged job is
delivered until it is done, nobody holds a job that another program holds, a job is done once, and
none stays with a program that does not know of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from raftline.clients.calls.kv_errors import LeaseLost
from raftline.clients.calls.transaction import Transaction, itself
from raftline.clients.calls.value_codec import TEXT
from raftline.clients.connections.node_connection import ClientError, OutcomeUnknown
from raftline.clients.steps import carry_out_awaiting
from raftline.recipes.queues.queue_steps import BaseJob, BaseQueue, TakeSteps
from raftline_testing.virtual.world.coroutines import shielded

from .lockers import HOLD_S, SHORT_S, WAITS_S, Locker, SimulatedHeld, SimulatedLease, SimulatedLock

QUEUE = "jobs"
FATES = (
    "is done", "is done with a write", "is done with a take", "is given back", "dies", "is revoked",
    "is revoked",
)  # fmt: skip
JOBS_AT_A_TIME = (1, 1, 3)


class SimulatedJob(BaseJob[SimulatedLease, str], SimulatedHeld):
    """A job of a simulated program."""

    @property
    def is_broken(self) -> bool:
        """Whether its lease may have been revoked."""
        return self._lease.is_broken


class SimulatedTake(TakeSteps[SimulatedLease, str], SimulatedLock):
    """One take of a simulated program."""

    _held_class: Any = SimulatedJob

    def _taking_over(self, attempt: Any, handed: Any) -> Any:
        is_of_another = attempt.waiter is not None
        jobs = yield from super()._taking_over(attempt, handed)
        self._program.world.counts["jobs taken over"] += is_of_another and len(jobs)
        return jobs


class Worker(Locker):
    """A program whose tasks put jobs into a queue, or work on them."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._jobs = self.check.jobs
        self._queue = BaseQueue(QUEUE, TEXT, None, self, self._make_take)
        self._seconds = self.chance.choice((1, 2, 5))

    async def _takes_a_lock(self) -> None:
        for _ in range(self.chance.randint(0, 3)):
            with contextlib.suppress(ClientError):
                steps = self._queue._putting(self.name)
                self._jobs.acknowledged(await carry_out_awaiting(steps, self._ask_step))
                self.world.counts["jobs put"] += 1
        for _ in range(self.chance.randint(1, 3)):
            await self._works(self.chance.choice(WAITS_S[:-1]))

    def begin_last_round(self) -> None:
        super().begin_last_round()
        self._last_round = [self._take()]

    def _make_take(self, kind: Any, keys: Any, seconds: int, on_lost: None) -> Any:
        return kind(self, keys, seconds)

    def _take(self) -> SimulatedTake:
        take: SimulatedTake = self._queue._take(SimulatedTake, self._seconds, None)
        return take

    async def _takes(self, lock: SimulatedLock, wait_s: float | None) -> None:
        """Work until every acknowledged job is done: the last round."""
        while self._jobs.open and self._last_round is not None:
            await self._works(1.0)

    async def _works(self, wait_s: float | None) -> None:
        jobs: Sequence[SimulatedJob] = []
        is_first = True
        while is_first or jobs:
            jobs = await self._gets(wait_s, jobs)
            is_first = False
            for job in jobs:
                self._jobs.taken(job)
                self.world.counts["jobs taken"] += 1
                self.world.counts["jobs taken again"] += job.deliveries > 1
            fate = self.chance.choice(FATES if self._last_round is None else FATES[:3])
            with_a_take: list[SimulatedJob] = []
            try:
                with_a_take = [job for job in jobs if not await self._ends(job, fate)]
            finally:
                if not with_a_take:
                    await self._give_back(jobs)
            jobs = with_a_take

    async def _gets(self, wait_s: float | None, done: Sequence[SimulatedJob]) -> list[SimulatedJob]:
        """Take jobs, and end others by the same request."""
        take, count = self._take(), self.chance.choice(JOBS_AT_A_TIME)
        surely_lost = [job for job in done if job._lease.is_surely_broken]
        jobs: list[SimulatedJob] = []
        is_answered = not done
        try:
            jobs = await take.carry_out(take._taking(count, wait_s, done))
            is_answered = True
            assert not surely_lost, f"{surely_lost} were revoked, and are done"
            self.world.counts["takes that end jobs"] += bool(done)
        except LeaseLost:
            is_answered = True
            self.world.counts["jobs lost"] += 1
        except ClientError:
            self.world.counts["takes in vain"] += 1
        finally:
            for job in done:
                if job.is_done:
                    self._has_ended(job)
                elif not is_answered:
                    self._jobs.may_have_ended(job)
        if not jobs:
            await self.sleep(SHORT_S)
        return jobs

    async def _ends(self, job: SimulatedJob, fate: str) -> bool:
        """End a job; return False if it is to be ended by the next take."""
        try:
            await self.sleep(HOLD_S * self.chance.random())
            if fate == "is revoked":
                await self._revoke(job._lease)
            if fate in ("is done", "is done with a write", "is revoked"):
                await shielded(self._finish(job, with_a_write=fate == "is done with a write"))
        except ClientError:
            pass
        finally:
            if fate == "dies":
                job._lease._lose_all()
        return fate != "is done with a take"

    async def _give_back(self, jobs: Sequence[SimulatedJob]) -> None:
        """Give back those that are not done, one by one or together."""
        if jobs and self.chance.random() < 0.5:
            with contextlib.suppress(ClientError):
                steps = self._queue._giving_back(jobs)
                await shielded(carry_out_awaiting(steps, self._ask_step))
        for job in jobs:
            if not job._is_released:
                with contextlib.suppress(ClientError):
                    await shielded(carry_out_awaiting(job._releasing(), self._ask_step))

    async def _finish(self, job: SimulatedJob, *, with_a_write: bool) -> None:
        """End a job, and count it in the same step, or not."""
        is_surely_lost = job._lease.is_surely_broken
        counted = Transaction(TEXT, itself).then.incr("jobs done") if with_a_write else None
        try:
            outcome = await carry_out_awaiting(job._finishing(counted), self._ask_step)
        except OutcomeUnknown:
            self._jobs.may_have_ended(job)
        except LeaseLost:
            self.world.counts["jobs lost"] += 1
        except ClientError:
            if not with_a_write:
                self._jobs.may_have_ended(job)  # as the request is repeated
        else:
            assert outcome, f"{job} is held, and its end is refused"
            assert not is_surely_lost, f"{job} was revoked, and is done"
            self._has_ended(job)

    def _has_ended(self, job: SimulatedJob) -> None:
        self._jobs.ended(job)
        self.world.counts["jobs done"] += 1
