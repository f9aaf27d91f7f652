"""Locks and elections of `raftline.aio.connect()` at real nodes."""

from __future__ import annotations

import asyncio

import pytest

import raftline
import raftline.aio
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S
from tests.processes.tasks import run
from tests.processes.typed import at

pytestmark = pytest.mark.usefixtures("event_loops", "nothing_from_before")


def test_a_lock_and_an_election(nodes: Cluster) -> None:
    async def work() -> None:
        async with raftline.aio.connect(at(nodes)) as kv:
            async with kv.lock("nightly") as held:
                other = kv.lock("nightly")
                assert await other.acquire(timeout=0) is None
                assert await other.acquire(timeout=0.2) is None
                waits = asyncio.ensure_future(other.acquire())
                given_up = asyncio.ensure_future(kv.lock("nightly").acquire())
                await asyncio.sleep(0.3)
                given_up.cancel()
            later = await asyncio.wait_for(waits, DEADLINE_S)
            assert await later.check() == later.token > held.token
            await later.release()
            with pytest.raises(asyncio.CancelledError):
                await given_up
            assert [key async for key in kv.keys("lock/nightly/")] == []
            election = kv.election("service")
            seen = election.observe()
            assert await seen.__anext__() is None
            leads = await election.campaign("one")
            assert await seen.__anext__() == "one"
            assert await election.leader() == "one"
            await leads.release()
            assert await seen.__anext__() is None
            await seen.aclose()  # type: ignore[attr-defined]

    run(work())


def test_tasks_waiting_for_a_lock_end_as_their_client_closes(nodes: Cluster) -> None:
    """Tasks that wait for a lock end with `Closed`, as their client does."""

    async def work() -> None:
        async with raftline.aio.connect(at(nodes)) as other, other.lock("same"):
            kv = raftline.aio.connect(at(nodes))
            shared = kv.lock("same")
            locks = [shared, shared, kv.lock("same")]
            waiting = [asyncio.ensure_future(each.acquire()) for each in locks]

            async with other.watch("lock/same/line/") as watch:
                await watch.next_event()
            await kv.close()
            ended = await asyncio.gather(*waiting, return_exceptions=True)
            assert [type(each) for each in ended] == 3 * [raftline.errors.Closed]

    run(work())
