"""Programs that close their client while they wait for a lock, or hold one."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import raftline
import raftline.aio
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S, eventually
from tests.processes.typed import at, somebody_waits

TTL_S = 600  # longer than any test: a lease that is left over keeps the lock
# A wait of a client: the key that exists while it waits, and the wait. Another client, which comes
# first, holds what it waits for; nobody holds a queue or a barrier.
WAITS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "lock": ("lock/closed/line/", lambda kv: kv.lock("closed", ttl=TTL_S).acquire()),
    "shared lock": (
        "lock/closed shared/line/",
        lambda kv: kv.lock("closed shared", shared=True, ttl=TTL_S).acquire(),
    ),
    "election": (
        "election/closed/line/",
        lambda kv: kv.election("closed", ttl=TTL_S).campaign("host1"),
    ),
    "semaphore": (
        "semaphore/closed/line/",
        lambda kv: kv.semaphore("closed", 1, ttl=TTL_S).acquire(),
    ),
    "queue": ("queue/closed/idle/", lambda kv: kv.queue("closed").take(TTL_S)),
    "double barrier": (
        "barrier/closed/line/",
        lambda kv: kv.double_barrier("closed", 2, ttl=TTL_S).enter(),
    ),
}
FIRST: dict[str, Callable[[raftline.KV[str]], Any]] = {
    "lock": WAITS["lock"][1],
    "shared lock": lambda kv: kv.lock("closed shared", ttl=TTL_S).acquire(),
    "election": WAITS["election"][1],
    "semaphore": WAITS["semaphore"][1],
}


def leases_of(kv: raftline.KV[str]) -> set[str]:
    text = kv.request("leases").removeprefix("LEASES response: ")
    return {each for each in json.loads(text)["leases"] if each.startswith("lease-")}


@pytest.mark.parametrize("what", WAITS)
def test_waiting_thread_leaves_the_line_with_its_client(
    nodes: Cluster, kv: raftline.KV[str], what: str
) -> None:
    """A waiting thread leaves the line when its client is closed."""
    key, wait = WAITS[what]
    held = FIRST[what](kv) if what in FIRST else None
    before = leases_of(kv)
    closed = raftline.connect(at(nodes))
    ends: list[type[BaseException]] = []

    def waits() -> None:
        with pytest.raises(raftline.errors.Closed) as end:
            wait(closed)
        ends.append(end.type)

    thread = threading.Thread(target=waits, daemon=True)
    with kv.watch(key) as watch:
        thread.start()
        while not next(watch).is_there:
            pass
        closed.close()
        eventually(lambda: not list(kv.items(key)), "the waiter has left")
    thread.join(DEADLINE_S)
    assert ends == [raftline.errors.Closed]
    assert leases_of(kv) <= before  # a lease of an earlier test may have ended
    if held is not None:
        held.release()
        with wait(kv):
            pass


@pytest.mark.parametrize("what", WAITS)
def test_waiting_task_leaves_the_line_with_its_client(
    nodes: Cluster, kv: raftline.KV[str], what: str
) -> None:
    """A waiting task leaves the line when its client is closed."""
    key, wait = WAITS[what]
    held = FIRST[what](kv) if what in FIRST else None
    before = leases_of(kv)

    async def waits() -> None:
        async with raftline.aio.connect(at(nodes)) as other, other.watch(key) as watch:
            async with raftline.aio.connect(at(nodes)) as closed:
                awaitable: Awaitable[object] = wait(closed)
                task = asyncio.ensure_future(awaitable)
                while not (await anext_of(watch)).is_there:
                    pass
            while [each async for each in other.items(key)]:
                await watch.next_event()
            ends = await asyncio.gather(task, return_exceptions=True)
            assert [type(each) for each in ends] == [raftline.errors.Closed]

    asyncio.run(waits())
    assert leases_of(kv) <= before
    if held is not None:
        held.release()
        with wait(kv):
            pass


async def anext_of(watch: raftline.aio.Watch[str]) -> raftline.api.Event[str]:
    event = await watch.next_event()
    assert event is not None
    return event


def test_closed_client_leaves_the_line_after_its_leader_died(three: Cluster) -> None:
    """A waiting client that is closed after its leader was killed leaves the line."""
    with raftline.connect(at(three)) as kv, kv.lock("closed", ttl=TTL_S).acquire() as held:
        closed = raftline.connect(at(three))
        ended = threading.Event()

        def waits() -> None:
            with pytest.raises(raftline.errors.Closed):
                closed.lock("closed", ttl=TTL_S).acquire()
            ended.set()

        thread = threading.Thread(target=waits, daemon=True)
        thread.start()
        eventually(lambda: somebody_waits(kv, "lock/closed/"), "the waiter's place")
        three.leader().kill()
        kv.ping()  # there is another leader, which the closed client has not asked yet
        closed.close()
        thread.join(DEADLINE_S)
        assert ended.is_set()
        eventually(lambda: not somebody_waits(kv, "lock/closed/"), "the waiter has left")
        assert held.check() == held.token


def test_what_a_closed_client_holds_is_held_until_its_lease_ends(
    nodes: Cluster, kv: raftline.KV[str]
) -> None:
    closed = raftline.connect(at(nodes))
    held = closed.lock("held", ttl=1.5).acquire()
    closed.close()
    assert not held.is_held
    assert kv.lock("held").acquire(timeout=0) is None
    with pytest.raises(raftline.LeaseLost, match="or its client was closed"):
        held.release()
    assert kv.lock("held").acquire(timeout=0) is None
    with kv.lock("held"):
        pass


def test_holdings_of_a_closed_task_last_until_the_lease_ends(
    nodes: Cluster, kv: raftline.KV[str]
) -> None:
    """A task's holding lasts until its lease ends, though its client is closed."""

    async def holds() -> None:
        async with raftline.aio.connect(at(nodes)) as closed:
            held = await closed.lock("held", ttl=1.5).acquire()
        assert not held.is_held
        assert kv.lock("held").acquire(timeout=0) is None
        with pytest.raises(raftline.LeaseLost, match="or its client was closed"):
            await held.release()

    asyncio.run(holds())
    with kv.lock("held"):
        pass
