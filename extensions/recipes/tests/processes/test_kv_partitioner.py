"""A partitioner at real nodes: each shard has one program at a time, also after a kill."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import pytest

import raftline
import raftline.aio
from raftline_testing.doubles.scripted_node import SOURCE
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S
from tests.processes.typed import at

WORKS = """
import raftline, sys
share = raftline.connect(sys.argv[1]).partitioner("work", shards=8, ttl=3).join("killed")
while True:
    print(*sorted(share.update()), flush=True)
"""


def test_programs_that_join_and_leave_divide_the_shards(kv: raftline.KV[str]) -> None:
    work = kv.partitioner("divide", shards=5)
    with work.join("a") as first:
        tokens = first.update()
        assert sorted(tokens) == [0, 1, 2, 3, 4]
        assert first.update(timeout=0) == tokens
        with work.join("b") as second:
            assert second.update() == {}
            assert first.update() == {each: tokens[each] for each in (0, 1, 2)}
            assert second.update(timeout=0) == {}
            assert work.owners() == dict.fromkeys(range(5), "a")
            assert sorted(first.update(timeout=0)) == [0, 1, 2]
            later = second.update()
            assert sorted(later) == [3, 4]
            assert all(later[each] > tokens[each] for each in later)
            assert work.owners() == {0: "a", 1: "a", 2: "a", 3: "b", 4: "b"}
            guarded = kv.txn().if_.unchanged("partition/divide/shards/0003", later[3])
            assert guarded.then.set("done", "b").commit()
        back = first.update()
        assert [back[each] for each in (0, 1, 2)] == [tokens[each] for each in (0, 1, 2)]
        assert back[3] > later[3]
    assert list(kv.keys("partition/divide/")) == ["partition/divide/count"]
    with pytest.raises(RuntimeError, match="the share of divide is released already"):
        first.update()


def test_a_waiting_program_gets_what_another_gives_back(kv: raftline.KV[str]) -> None:
    """Also if the keys were listed long before: that a shard is free is news."""
    work = kv.partitioner("wait", shards=2)
    with work.join("a") as first:
        assert sorted(first.update()) == [0, 1]
        with work.join("b") as second:
            assert second.update() == {}
            assert sorted(first.update()) == [0]  # it gives the other one back with the next update
            given: list[dict[int, int]] = []
            waiting = threading.Thread(target=lambda: given.append(second.update()))
            waiting.start()
            waiting.join(0.5)
            assert waiting.is_alive()
            first.update(timeout=0.5)
            waiting.join(DEADLINE_S)
            assert [sorted(each) for each in given] == [[1]]


def test_more_programs_than_shards_and_many_shards(kv: raftline.KV[str]) -> None:
    few = kv.binary.partitioner("few", shards=1)
    with few.join(b"\xff") as first, few.join(b"b") as second:
        assert list(first.update()) == [0]
        assert second.update() == {}
        assert few.owners() == {0: b"\xff"}
        first.release()
        assert list(second.update()) == [0]
    with kv.partitioner("many", shards=1000).join("a") as share:
        assert len(share.update()) == 1000


def test_a_killed_worker_s_shards_go_to_the_others(three: Cluster) -> None:
    with (
        raftline.connect(at(three)) as kv,
        subprocess.Popen(
            [sys.executable, "-c", WORKS, at(three)],
            text=True,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        ) as worker,
    ):
        assert worker.stdout is not None
        assert worker.stdout.readline() == "0 1 2 3 4 5 6 7\n"
        work = kv.partitioner("work", shards=8, ttl=30)
        with work.join("here") as share:
            assert worker.stdout.readline() == "0 1 2 3\n"
            # The worker gives them up as it asks again, so before the first answer here, or after.
            tokens = share.update() or share.update()
            assert sorted(tokens) == [4, 5, 6, 7]
            owners = work.owners()
            worker.kill()
            three.leader().kill()
            after = share.update()
            assert sorted(after) == list(range(8))
            assert {each: after[each] for each in tokens} == tokens
            assert owners == {**dict.fromkeys(range(4), "killed"), **dict.fromkeys(tokens, "here")}


def test_threads_that_share_nobody_s_shard(kv: raftline.KV[str]) -> None:
    """Each shard is in use by one thread at a time, while all of them come and go."""
    users: dict[int, str] = {}
    problems: list[str] = []
    last: dict[int, int] = {}
    guard = threading.Lock()

    def use(name: str, tokens: dict[int, int], before: dict[int, int]) -> None:
        with guard:
            for shard in before.keys() - tokens.keys():
                users.pop(shard)
            for shard in tokens.keys() - before.keys():
                if shard in users or tokens[shard] <= last.get(shard, 0):
                    problems.append(f"{shard} of {users.get(shard)} goes to {name}")
                users[shard], last[shard] = name, tokens[shard]

    def work(name: str) -> None:
        tokens: dict[int, int] = {}
        with kv.partitioner("threads", shards=6).join(name) as share:
            for _ in range(12):
                now = share.update(timeout=0.5)
                use(name, now, tokens)
                tokens = now
            use(name, {}, tokens)

    threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert problems == []
    assert set(last) == set(range(6))


def test_bad_input_of_a_partitioner(kv: raftline.KV[str]) -> None:
    with pytest.raises(ValueError, match="a partitioner has 1 to 1000 shards, not 0"):
        kv.partitioner("work", shards=0)
    with pytest.raises(ValueError, match="the name of a partition has at least one byte"):
        kv.partitioner("", shards=1)
    share = kv.partitioner("agree", shards=4).join("a")
    with pytest.raises(ValueError, match="agree has 4 shards, not 5"):
        kv.partitioner("agree", shards=5).join("b")
    with pytest.raises(TypeError, match="a value is str here, not int"):
        kv.partitioner("agree", shards=4).join(5)  # type: ignore[arg-type]
    kv.clear("partition/agree/")
    with pytest.raises(raftline.LeaseLost, match="no longer belongs to this program"):
        share.update()
    with kv.partitioner("agree", shards=5).join("b") as share:
        assert len(share.update()) == 5


def test_asyncio_has_the_same_partitioner(nodes: Cluster) -> None:
    async def work() -> None:
        async with raftline.aio.connect(at(nodes)) as kv:
            tasks = kv.partitioner("tasks", shards=2)
            async with await tasks.join("a") as first, await tasks.join("b") as second:
                assert list(await first.update()) == [0]
                assert list(await second.update()) == [1]
                assert await tasks.owners() == {0: "a", 1: "b"}
                waiter = asyncio.ensure_future(second.update())
                await first.release()
                assert list(await waiter) == [0, 1]

    asyncio.run(work())
