"""Leases of asyncio: none is believed in too long, also by a task that is cancelled."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from library.tests.interleave.lease_cluster import TTLS, WAYS_S, WHILE_S, LeaseCluster

from raftline.clients.calls.kv_errors import LeaseLost
from raftline.clients.connections.node_connection import Unreachable
from raftline.clients.leases.aio_lease import AioKeeper, AioLease
from raftline_testing.interleave.scenarios import check_interleavings, first_failure, seeds


class AioCluster(LeaseCluster):
    """Grants leases; some requests are lost or slow."""

    async def _travel(self, limit_s: float) -> None:
        loop: Any = asyncio.get_running_loop()
        way_s = 0.0 if self._is_prompt else loop.chance.choice(WAYS_S)
        await asyncio.sleep(min(way_s, limit_s))
        if way_s >= limit_s:
            raise Unreachable("no answer")

    async def ask(self, call: Any, timeout: float | None = None) -> Any:
        limit_s = timeout or self.timeout
        until_s = asyncio.get_running_loop().time() + limit_s
        await self._travel(limit_s)
        answer = self._carry_out(*call.command.split(" "))
        await self._travel(until_s - asyncio.get_running_loop().time())
        return answer


class ByTheAnswer(AioLease):
    """Counts from the moment at which the answer came."""

    async def grant(self) -> AioLease:
        await super().grant()
        assert self._timer is not None
        self._timer.timer.extend(self._now())
        return self


async def leases_are_kept(kind: type[AioLease] = AioLease, *, is_prompt: bool = False) -> None:
    """Tasks hold a lease each; one of them is cancelled, and its lease is given up."""
    loop: Any = asyncio.get_running_loop()
    cluster = AioCluster(is_prompt=is_prompt)
    keeper = AioKeeper(cluster)
    lost: list[int] = []

    async def hold(number: int) -> None:
        ttl = TTLS[number]
        lease = kind(cluster, keeper, ttl, on_lost=lambda: lost.append(number))
        try:
            await lease.grant()
        except (LeaseLost, Unreachable):
            assert not is_prompt
            return
        until_s = loop.time() + WHILE_S
        while loop.time() < until_s:
            was_gone = cluster.is_gone(lease.id)
            assert not (was_gone and lease.is_held), "held after its end"
            await asyncio.sleep(ttl / 4)
        try:
            await lease.release()
        except (LeaseLost, Unreachable):
            assert not is_prompt
        assert not lease.is_held

    tasks = [asyncio.ensure_future(hold(number)) for number in range(len(TTLS))]
    if not is_prompt:
        await asyncio.sleep(loop.chance.choice((0.0, 1.0, 7.0)))
        tasks[0].cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [end for end in ends[1:] if end is not None] == []
    await keeper.close()
    assert not len(keeper), "a task renews on"
    assert len(lost) == len(set(lost)), "a loss was reported twice"
    assert not is_prompt or (lost == [] and len(cluster.released) == len(TTLS))


async def answers_are_prompt() -> None:
    loop: Any = asyncio.get_running_loop()
    if loop.is_punctual:
        await leases_are_kept(is_prompt=True)


@seeds(100, 20_000)
def test_a_lease_is_held_until_its_end_at_most(seeds: range) -> None:
    check_interleavings(leases_are_kept, seeds)


@seeds(50, 10_000)
def test_no_lease_is_lost_while_the_cluster_answers(seeds: range) -> None:
    check_interleavings(answers_are_prompt, seeds)


@pytest.mark.slow
def test_a_lease_that_is_counted_from_the_answer_is_found() -> None:
    assert first_failure(partial(leases_are_kept, ByTheAnswer), range(100)) is not None
