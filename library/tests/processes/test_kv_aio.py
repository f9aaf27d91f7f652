"""`raftline.aio.connect()` at real nodes: the same names awaited, on one connection."""

from __future__ import annotations

import asyncio
import os
import pickle
import time

import pytest

import raftline
import raftline.aio
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S, aio_eventually
from tests.processes.tasks import leaves_nothing
from tests.processes.typed import at

pytestmark = pytest.mark.usefixtures("event_loops", "nothing_from_before")


@leaves_nothing
async def test_the_same_names_are_awaited(nodes: Cluster) -> None:
    async with raftline.aio.connect(at(nodes)) as kv:
        await kv.set("a/a", "5")
        assert await kv.get("a/a") == "5"
        assert await kv.get("a/none", "else") == "else"
        assert await kv.setnx("a/a", "6") is False
        assert await kv.setnx("timed", "1", ttl=100) is True
        assert 90 < (await kv.ttl("timed") or 0) <= 100
        assert await kv.setdefault("default", "6") == "6"
        assert await kv.setdefault("default", "7") == "6"
        assert await kv.get("default") == "6"
        assert await kv.cas("a/a", "5", "two words") is True
        assert await kv.append("a/a", "!") == 10
        assert await kv.incr("a/n", 41) == 41
        assert (await kv.read("a/n")).value == "41"
        version = await kv.read("a/a")
        assert await kv.read_many(["a/a"]) == {"a/a": version}
        assert await anext(kv.read_items("a/")) == ("a/a", version)
        assert await kv.cas("a/a", version, "two words!") is True
        assert await kv.cas("a/a", version, "lost") is False
        assert await kv.exists("a/a") is True
        stat = await kv.stat("a/n")
        assert stat is not None
        done = await kv.txn().if_.unchanged("a/n", stat.index).then.incr("a/n").commit()
        assert (done.succeeded, done.results) == (True, [42])
        assert await kv.expire("a/n", 50) is True
        assert not await kv.txn().if_.unchanged("a/n", stat).then.incr("a/n").commit()
        assert [pair async for pair in kv.items("a/")] == [("a/a", "two words!"), ("a/n", "42")]
        assert [key async for key in kv.keys("a/")] == ["a/a", "a/n"]
        assert [value async for value in kv.values("a/")] == ["two words!", "42"]
        assert await kv.expire("a/n", 100) is True
        assert 0 < (await kv.ttl("a/n") or 0) <= 100
        assert await kv.persist("a/n") is True
        assert await kv.ttl("a/n") is None
        assert await kv.pop("a/n") == "42"
        assert await kv.delete("a/n") is False
        with pytest.raises(KeyError):
            await kv.ttl("a/n")
        await kv.set("a/e", "1", ttl=100)
        assert await kv.clear("a/") == 2
        with pytest.raises(raftline.Refused, match="not a whole number"):
            await kv.txn().then.set("a/x", "x").incr("a/x").commit()
        assert (await kv.request("get a/x")).startswith("GET response, no such key")
        with pytest.raises(TypeError, match="can't be copied or pickled"):
            pickle.dumps(kv)
    async with raftline.aio.connect(at(nodes)) as kv:
        async with kv.binary as raw:
            await raw.set(b"\xff", bytes(range(256)))
            assert await raw.pop(b"\xff") == bytes(range(256))
        assert await kv.get("a/a") is None  # the end of a view closes nothing


async def test_a_task_brings_its_watch_up_to_now(nodes: Cluster) -> None:
    async with raftline.aio.connect(at(nodes)) as kv, kv.watch("y/") as watch:
        assert await watch.sync(DEADLINE_S) == []
        await kv.set("y/a", "1")
        assert [each.value for each in await watch.sync(DEADLINE_S) or []] == ["1"]
        assert (await kv.snapshot("y/")).pairs == {"y/a": "1"}
        async with kv.pipeline() as batch:
            sums = [batch.incr("y/n") for _ in range(300)]
        assert [each.result() for each in sums] == [*range(1, 301)]
        assert await kv.get_many(["y/a", "y/none"]) == {"y/a": "1"}


@leaves_nothing
async def test_tasks_share_one_connection_and_each_write_is_done_once(nodes: Cluster) -> None:
    async with raftline.aio.connect(at(nodes)) as kv:
        sums = await asyncio.gather(*(kv.incr("tasks") for _ in range(300)))
        assert sorted(sums) == list(range(1, 301))
        assert kv.name == "program"


@leaves_nothing
async def test_a_task_may_be_cancelled_at_any_time(nodes: Cluster) -> None:
    async with raftline.aio.connect(at(nodes)) as kv:
        for turn in range(60):
            tasks = [asyncio.ensure_future(kv.incr("cancelled")) for _ in range(10)]
            await asyncio.sleep(turn / 20_000)
            for task in tasks[::2]:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(each, int) for each in done[1::2])
        assert int(await kv.get("cancelled") or 0) <= 600
        async with asyncio.timeout(60) if hasattr(asyncio, "timeout") else kv.within(60):
            await kv.get("cancelled")


@leaves_nothing
async def test_a_watch_and_a_lease(nodes: Cluster) -> None:
    async with raftline.aio.connect(at(nodes)) as kv:
        kinds: list[str] = []

        async def follow() -> None:
            async for event in kv.watch("w/"):
                kinds.append(event.kind)
                if event.kind == "delete":
                    return

        await kv.set("w/a", "1")
        following = asyncio.ensure_future(follow())
        async with kv.lease(5) as lease:
            await kv.set("w/b", "1", lease=lease)
            await asyncio.sleep(6)
            assert lease.is_held
            await lease.check()
        await asyncio.wait_for(following, DEADLINE_S)
        assert kinds[0] == "has"
        assert kinds[-1] == "delete"


@leaves_nothing
async def test_a_lease_without_keep_is_renewed_by_check_alone(nodes: Cluster) -> None:
    async with raftline.aio.connect(at(nodes)) as kv:
        lease = await kv.lease(5, keep=False).grant()
        await kv.set("own", "1", lease=lease)
        assert await lease.check(timeout=5) is lease

        async def is_gone() -> bool:
            return "own" not in [key async for key, _ in kv.items("own")]

        await aio_eventually(is_gone, pause_s=0.1)
        with pytest.raises(raftline.LeaseLost):
            await lease.check()


@leaves_nothing
async def test_a_lease_that_somebody_ended_is_reported_as_lost(nodes: Cluster) -> None:
    async with raftline.aio.connect(at(nodes)) as kv:
        lease = await kv.lease(3).grant()
        await kv.request(f"release {lease}")
        await asyncio.wait_for(lease.wait_lost(), DEADLINE_S)
        assert not lease.is_held
        with pytest.raises(raftline.LeaseLost, match=f"{lease} has ended"):
            await kv.set("a", "1", lease=lease)
        with pytest.raises(raftline.LeaseLost, match=f"{lease} has ended"):
            await lease.release()


@leaves_nothing
async def test_a_child_process_is_asked_to_connect_again(nodes: Cluster) -> None:
    async with raftline.aio.connect(at(nodes)) as kv:
        await kv.set("fork", "1")
        child = os.fork()
        if child == 0:
            failed = 1
            try:
                with pytest.raises(RuntimeError, match="process that forked; connect again"):
                    await kv.get("fork")
                failed = 0
            finally:
                os._exit(failed)
        assert os.waitpid(child, 0)[1] == 0
        assert await kv.get("fork") == "1"


@leaves_nothing
async def test_child_closing_inherited_clients_spares_parent_watches(nodes: Cluster) -> None:
    """Both processes use one selector of the system, and one that removes a connection from it does
    so for both."""
    async with raftline.aio.connect(at(nodes), silence=3600) as kv:
        first, second = kv.watch("forked"), kv.watch("forked")
        for watch in (first, second):
            assert await watch.sync(DEADLINE_S) == []
        child = os.fork()
        if child == 0:
            failed = 1
            try:
                first.close()
                asyncio.run(kv.close())
                failed = 0
            finally:
                os._exit(failed)
        assert os.waitpid(child, 0)[1] == 0
        await kv.set("forked", "1")
        for watch in (first, second):
            event = await watch.next_event(DEADLINE_S)
            assert event is not None
            assert event.value == "1"
        await kv.delete("forked")


@leaves_nothing
async def test_a_leader_killed_amid_writes_and_a_watch_lose_nothing(three: Cluster) -> None:
    async with raftline.aio.connect(at(three), timeout=DEADLINE_S) as kv:
        seen: list[int] = []

        async def follow() -> None:
            async for event in kv.watch("n"):
                seen.append(int(event.value or 0))
                if seen[-1] == 900:
                    return

        async def count() -> None:
            while await kv.incr("n") < 900:
                pass

        await kv.set("n", "0")
        following = asyncio.ensure_future(follow())
        # Else it could begin beyond the last one.
        await aio_eventually(lambda: seen, pause_s=0.01)
        counting = [asyncio.ensure_future(count()) for _ in range(8)]
        await aio_eventually(lambda: seen[-1] >= 300, pause_s=0.01)
        leader = await asyncio.to_thread(three.leader)
        leader.kill()
        await asyncio.wait_for(following, DEADLINE_S)
        assert seen == list(range(901))
        for task in counting:
            await task
        assert int(await kv.get("n") or 0) == 900 + len(counting) - 1


@leaves_nothing
async def test_a_call_ends_at_its_deadline_where_all_stand_still(three: Cluster) -> None:
    async with raftline.aio.connect(at(three), timeout=3.0) as kv:
        await kv.set("a", "1")
        for node in three.nodes:
            node.pause()
        begun_s = time.monotonic()
        tasks = [asyncio.ensure_future(kv.set("a", str(number))) for number in range(5)]
        done = await asyncio.gather(*tasks, kv.get("a"), return_exceptions=True)
        assert {type(each) for each in done[:5]} == {raftline.OutcomeUnknown}
        assert isinstance(done[5], raftline.Unreachable)
        assert time.monotonic() - begun_s < DEADLINE_S / 2
        for node in three.nodes:
            node.resume()
        await asyncio.to_thread(three.leader)
        assert await kv.within(DEADLINE_S).get("a") in ("1", "0", "2", "3", "4")


@leaves_nothing
async def test_where_nobody_listens_it_says_so_within_its_time() -> None:
    async with raftline.aio.connect("localhost:1,localhost:2", timeout=0.4) as kv:
        with pytest.raises(raftline.Unreachable, match="nobody answers at"):
            await kv.set("a", "1")
        with pytest.raises(raftline.Unreachable, match="no node serves it at"):
            await kv.watch().next_event()
