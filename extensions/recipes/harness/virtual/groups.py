"""Simulated programs that divide shards, meet at barriers and join a party, in schedules of faults.

The operations are those of `kv.partitioner()`, `kv.barrier()`, `kv.double_barrier()` and
`kv.party()`. Each shard has one owner at any moment and its tokens grow, nobody passes a barrier
early. A party lists each member that is certainly there, and none that has left or whose lease has
ended.
"""

from __future__ import annotations

import contextlib
from typing import Any

from raftline.clients.calls.calls import CALLS, Ask
from raftline.clients.calls.kv_errors import LeaseLost
from raftline.clients.connections.node_connection import ClientError
from raftline.recipes.groups.barrier_steps import BarrierSteps, BaseEntered
from raftline.recipes.groups.partition_steps import BaseShare, PartitionKeys, PartitionSteps
from raftline.recipes.groups.party_steps import JoinSteps, PartyKeys
from raftline_testing.virtual.world.coroutines import shielded

from .lockchecks import MEETING
from .lockers import HOLD_S, SHORT_S, Locker, SimulatedHeld, SimulatedLease, SimulatedLock

SHARDS = 5
UPDATE_S = (0, 0.5, 2.0)
REVOKED_SHARE = 0.1  # of the updates after which an operator revokes the lease
DEATHS_SHARE = 0.5  # of the members of a party that renew their lease no longer
FATES = ("leaves", "leaves", "dies", "is revoked")


class SimulatedShare(BaseShare[SimulatedLease], SimulatedHeld):
    """The shards of a simulated program."""

    @property
    def is_broken(self) -> bool:
        """Whether its lease may have been revoked."""
        return self._lease.is_broken


class SimulatedPartitioner(PartitionSteps[SimulatedLease, Any], SimulatedLock):
    """A partitioner of a simulated program."""

    _held_class: Any = SimulatedShare


class SimulatedParty(JoinSteps[SimulatedLease, Any], SimulatedLock):
    """A party of a simulated program."""


class SimulatedEntered(BaseEntered[SimulatedLease], SimulatedHeld):
    """A simulated program inside a double barrier."""


class SimulatedBarrier(BarrierSteps[SimulatedLease, Any], SimulatedLock):
    """A barrier and a double barrier of a simulated program."""

    _held_class: Any = SimulatedEntered


class Member(Locker):
    """A program whose tasks are members of groups."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        seconds = self.chance.choice((1, 2))
        self._work = SimulatedPartitioner(self, PartitionKeys("work", SHARDS), seconds)
        self._party = SimulatedParty(self, PartyKeys("web"), seconds)
        self._barrier = SimulatedBarrier(self, MEETING, seconds)
        for each in (self._work, self._party, self._barrier):
            each._waits_for_release = True  # they are released in no other way
        self._joined = 0

    async def _takes_a_lock(self) -> None:
        acts = (self._shares, self._shares, self._meets, self._gathers, self._waits)
        with contextlib.suppress(ClientError):
            await self.chance.choice(acts)()

    def begin_last_round(self) -> None:
        super().begin_last_round()
        self._last_round = [self._work]

    async def _takes(self, lock: SimulatedLock, wait_s: float | None) -> None:
        """Join once more, and list the party until those that gave up are gone: the last round."""
        try:
            await self._shares()
            await self._lists()
            while self.check.party.has_leftover:
                await self.sleep(SHORT_S)
                await self._lists()
        except ClientError:
            if self._last_round is not None:
                await self.sleep(SHORT_S)
                self._last_round.append(lock)

    async def _shares(self) -> None:
        work, shards = self._work, self.check.shards
        share: Any = await work.carry_out(work._acquiring(self.name, None, -1))
        try:
            for _ in range(self.chance.randint(1, 5)):
                steps = work._updating(share, self.chance.choice(UPDATE_S))
                tokens = await work.carry_out(steps)
                shards.updated(share, tokens)
                self.world.counts["shards had"] += len(tokens)
                await self.sleep(SHORT_S + HOLD_S / 2 * self.chance.random())
                if self.chance.random() < REVOKED_SHARE:
                    await shielded(self._revoke(share._lease))
        except LeaseLost:
            assert not share.is_held, f"{share} is held, and reported as lost"
            self.world.counts["shares lost"] += 1
        finally:
            shards.left(share)
            share._attempt.hang_up()
            await self._leaves(work, share)

    async def _meets(self) -> None:
        """Enter the double barrier, and leave it."""
        barrier, before = self._barrier, self.check.barriers.entering
        wait_s = self.chance.choice((0.5, 5.0))
        held: Any = await barrier.carry_out(barrier._acquiring(self.name, wait_s, -1))
        if held is None:
            self.world.counts["barriers not passed"] += 1
            return
        assert self.check.barriers.rounds > before, f"{held} is passed, and no round has begun"
        self.world.counts["barriers passed"] += 1
        try:
            await self.sleep(SHORT_S * self.chance.random())
            if await barrier.carry_out(barrier._leaving(held, wait_s)):
                self.check.barriers.left(held._round)
                self.world.counts["barriers left together"] += 1
        finally:
            await self._leaves(barrier, held)

    async def _gathers(self) -> None:
        """Join the party, list it, and leave or die."""
        party, check, self._joined = self._party, self.check.party, self._joined + 1
        value = f"{self.name} {self._joined}"
        check.joining(value)
        held: Any = await party.carry_out(party._acquiring(value, None, -1))
        check.joined(value, held._lease)
        is_out = False
        try:
            await self._lists()
            await self.sleep(HOLD_S / 2 * self.chance.random())
            check.leaving(value)
            if self._last_round is None and self.chance.random() < DEATHS_SHARE:
                is_out = True
                held._lease._granted().timer.lose()
                await self.sleep(1.5 * HOLD_S)  # its lease has ended, if there is a leader
                await self._lists()
                return
            await party.carry_out(held._releasing())
            is_out = True
            check.left(value)
            await self._lists()
            self.world.counts["parties left"] += 1
        finally:
            check.leaving(value)
            if not is_out:
                await self._leaves(party, held)

    async def _lists(self) -> None:
        before = self.check.party.now()
        self.check.party.listed(await self._party.carry_out(self._party._members()), before)

    async def _waits(self) -> None:
        """Wait until the gate is open. Some programs close it before, and open it afterwards."""
        barrier, closes = self._barrier, self.chance.random() < 0.5
        if closes:
            await self._ask_step(Ask(CALLS.set(MEETING.closed, "1")))
        before = self.check.barriers.waiting
        if await barrier.carry_out(barrier._passing(0.5 if closes else 5.0)):
            assert self.check.barriers.openings > before, "a closed gate lets a program through"
            self.world.counts["gates passed"] += 1
        if closes:
            await self._ask_step(Ask(CALLS.delete(MEETING.closed)))

    async def _leaves(self, claim: SimulatedLock, held: SimulatedHeld) -> None:
        """End a membership, in one of several ways."""
        fate = "leaves" if self._last_round is not None else self.chance.choice(FATES)
        if held._is_released:
            return
        with contextlib.suppress(ClientError):
            if fate == "is revoked":
                await shielded(self._revoke(held._lease))
            if fate == "dies":
                held._lease._granted().timer.lose()
            else:
                await shielded(claim.carry_out(held._releasing()))
