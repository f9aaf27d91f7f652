"""A queue of jobs at real nodes: each job is delivered until it is done, and done once."""

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
from raftline_testing.nodes.processes import DEADLINE_S, aio_eventually, eventually
from tests.processes.typed import at

WAITS = """
import raftline, sys
raftline.connect(sys.argv[1], name="worker").queue("line").take(600)
"""
TAKES = """
import raftline, sys, threading
job = raftline.connect(sys.argv[1], name="worker").queue("jobs").take(3)
print(job.value, flush=True)
threading.Event().wait()
"""


def test_jobs_come_in_order_and_end_with_their_result(kv: raftline.KV[str]) -> None:
    jobs = kv.queue("order")
    numbers = [jobs.put(value) for value in ("a", "", "ü b")]
    assert numbers == sorted(set(numbers))
    assert jobs.waiting() == 3
    for count, value in enumerate(("a", "", "ü b"), start=1):
        with jobs.take(timeout=0) or pytest.fail("no job") as job:
            assert (job.number, job.value, job.deliveries) == (numbers[count - 1], value, 1)
            assert job.check() == job.token
            outcome = job.done(kv.txn().then.set(f"result/{count}", "ok").incr("results"))
            assert outcome.succeeded
            assert outcome.results == [True, count]
            assert job.is_done
            assert not job.is_held
    assert jobs.take(timeout=0) is None
    assert list(kv.keys("queue/order/")) == []
    assert kv["results"] == "3"


def test_a_job_is_put_in_the_step_that_makes_it_due(kv: raftline.KV[str]) -> None:
    """Along with other writes, or with the end of the job before it; or nothing is done."""
    orders, mails = kv.queue("orders"), kv.queue("due mails")
    put = kv.txn().then.set("order/7", "new").put(orders, "7").put(mails, "then ;").put(mails, "")
    outcome = put.commit()
    assert outcome.done(0)
    assert outcome.number(2) < outcome.number(3)
    with orders.take(timeout=0) or pytest.fail("no job") as job:
        assert (job.number, job.value) == (outcome.number(1), "7")
        assert not job.done(kv.txn().if_.equal("order/7", "old").then.put(mails, "never"))
        assert job.done(kv.txn().then.set("order/7", "paid").put(mails, "paid")).results[0] is True
    kv.set("order/word", "x")
    with pytest.raises(raftline.Refused, match="operation 2, incr order/word 1, can't be done"):
        kv.txn().then.put(mails, "never").incr("order/word").commit()
    jobs = mails.take_many(9)
    assert [job.value for job in jobs] == ["then ;", "", "paid"]
    assert [job.number for job in jobs] == sorted({job.number for job in jobs})
    with pytest.raises(TypeError, match=r"put takes what kv\.queue\(\) returns, not str"):
        kv.txn().then.put("mails", "x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a value is str here, not bytes"):
        kv.txn().then.put(mails, b"x")  # type: ignore[arg-type]


def test_a_put_of_a_transaction_is_handed_to_who_waits(nodes: Cluster) -> None:
    async def work() -> None:
        async with raftline.aio.connect(at(nodes)) as kv:
            jobs = kv.queue("awaited")
            waiter = asyncio.ensure_future(jobs.take(600))

            async def is_waiting() -> bool:
                return bool([key async for key in kv.keys("queue/awaited/idle/")])

            await aio_eventually(is_waiting)
            done = await kv.txn().then.put(jobs, "a").put(jobs, "b").commit()
            first = await waiter
            assert (first.value, first.number) == ("a", done.number(0))
            following = await jobs.take(600, done=first)
            assert (following.value, following.number) == ("b", done.number(1))
            await following.done(kv.txn().then.put(jobs, "c"))
            assert await jobs.waiting() == 1

    asyncio.run(work())


def test_returned_job_is_delivered_again_and_dies_at_last(kv: raftline.KV[str]) -> None:
    """A job that is given back is delivered again and dies at last."""
    jobs = kv.queue("bad", max_deliveries=2)
    number = jobs.put("poison")

    def fail(count: int) -> None:
        with jobs.take(timeout=DEADLINE_S) or pytest.fail("no job") as job:
            assert (job.number, job.deliveries) == (number, count)
            raise OSError("broken")

    for count in (1, 2):
        with pytest.raises(OSError, match="broken"):
            fail(count)
    assert jobs.take(timeout=0) is None
    assert jobs.dead() == [raftline.api.DeadJob(number, "poison", 2)]
    assert (jobs.retry(number), jobs.retry(number), jobs.dead()) == (True, False, [])
    job = jobs.take(timeout=DEADLINE_S)
    assert job is not None
    assert (job.value, job.deliveries) == ("poison", 1)
    job.release()
    assert kv.queue("bad", max_deliveries=1).take(timeout=0.5) is None
    assert (jobs.discard(number), jobs.discard(number), jobs.dead()) == (True, False, [])


def test_failed_condition_of_a_result_leaves_the_job_held(kv: raftline.KV[str]) -> None:
    """A condition of the result that fails leaves the job held."""
    jobs = kv.queue("condition")
    jobs.put("a")
    job = jobs.take()
    assert not job.done(kv.txn().if_.exists("nothing").then.set("there", "1"))
    assert job.check() == job.token
    with pytest.raises(ValueError, match="a transaction of done has no operations after else_"):
        job.done(kv.txn().if_.exists("nothing").then.get("a").else_.get("b"))
    with pytest.raises(TypeError, match=r"done takes a transaction that is not committed: kv\.txn"):
        job.done(kv.txn().then.get("a").commit())  # type: ignore[arg-type]
    job.done()
    with pytest.raises(RuntimeError, match="of condition is done or released already"):
        job.done()
    assert kv.get("there") is None


def test_done_takes_as_many_operations_as_its_own_leave_room_for(kv: raftline.KV[str]) -> None:
    jobs = kv.queue("large")
    jobs.put("a")
    job = jobs.take()
    full, many = kv.txn().then, kv.txn().if_
    for number in range(1023):
        full.set(f"large/{number}", "x")
    for number in range(1024):
        many.absent(f"none/{number}")
    with pytest.raises(ValueError, match="done takes up to 1022 operations, not 1023: 2 end the"):
        job.done(full)
    with pytest.raises(ValueError, match="done takes up to 1023 conditions, not 1024: 1 says that"):
        job.done(many.then.set("large/0", "x"))
    assert job.check() == job.token
    fits = kv.txn().if_
    for number in range(1023):
        fits.absent(f"none/{number}")
    results = fits.then
    for number in range(1022):
        results.set(f"large/{number}", "x")
    assert job.done(results)
    assert kv.clear("large/") == 1022


def test_a_worker_that_lost_its_job_can_not_end_it(nodes: Cluster, kv: raftline.KV[str]) -> None:
    jobs = kv.queue("lost")
    jobs.put("a")
    with raftline.connect(at(nodes)) as paused:
        slow = paused.queue("lost").take()
        kv.request(f"release {lease_of(kv, 'lost')}")  # as if its time were over
        with jobs.take(timeout=DEADLINE_S) or pytest.fail("no job") as fast:
            assert (fast.number, fast.deliveries) == (slow.number, 2)
            assert fast.token > slow.token
            with pytest.raises(raftline.LeaseLost, match="of lost is not held any more"):
                slow.done(paused.txn().then.set("twice", "1"))
            fast.done()
        with pytest.raises(raftline.LeaseLost):
            slow.release()
    assert kv.get("twice") is None


def lease_of(kv: raftline.KV[str], queue: str) -> str:
    """Return the lease of the first job of a queue that is held."""
    stat = kv.stat(next(iter(kv.keys(f"queue/{queue}/held/"))))
    assert stat is not None
    assert stat.lease is not None
    return stat.lease


def test_jobs_of_a_lost_lease_are_lost_and_workers_told(kv: raftline.KV[str]) -> None:
    """All jobs of a lost lease are lost and each worker is told."""
    jobs = kv.queue("all lost")
    for value in "abc":
        jobs.put(value)
    lost: list[str] = []
    taken = [*jobs.take_many(2, 2, on_lost=lambda: lost.append("many"))]
    taken.append(jobs.take(2, on_lost=lambda: lost.append("one")))
    assert not taken[0].wait_lost(timeout=3)  # it is renewed
    assert all(job.check() == job.token for job in taken)
    kv.request(f"release {lease_of(kv, 'all lost')}")
    eventually(lambda: sorted(lost) == ["many", "many", "one"], "each worker is told")
    with pytest.raises(raftline.LeaseLost, match=r"jobs \d+, \d+ of all lost are not held"):
        jobs.done(taken[:2])
    with pytest.raises(raftline.LeaseLost):
        taken[2].done()
    assert not any(job.is_done for job in taken)
    assert [job.deliveries for job in jobs.take_many(3)] == [2, 2, 2]


def test_a_waiting_worker_takes_a_new_job(kv: raftline.KV[str]) -> None:
    taken: list[str] = []

    def work() -> None:
        with kv.queue("wait").take() as job:
            taken.append(job.value)
            job.done()

    worker = threading.Thread(target=work)
    worker.start()
    kv.queue("wait").put("late")
    worker.join(DEADLINE_S)
    assert taken == ["late"]


def test_waiting_workers_take_jobs_in_their_order(kv: raftline.KV[str]) -> None:
    """Waiting workers take jobs in the order in which they came."""
    taken: list[tuple[int, str]] = []

    def work(number: int) -> None:
        with kv.queue("turns").take() as job:
            taken.append((number, job.value))
            job.done()

    workers = []
    with kv.watch("queue/turns/idle/") as places:
        for number in range(5):
            workers.append(threading.Thread(target=work, args=(number,)))
            workers[-1].start()
            assert next(places).is_there
    jobs = kv.queue("turns")
    for number in range(5):
        jobs.put(f"job {number}")
        eventually(lambda: len(taken) > number, "the next worker")  # noqa: B023
    for worker in workers:
        worker.join(DEADLINE_S)
    assert taken == [(number, f"job {number}") for number in range(5)]
    assert list(kv.keys("queue/turns/")) == []


def test_job_of_a_worker_dead_in_line_goes_to_the_next(
    nodes: Cluster, kv: raftline.KV[str]
) -> None:
    """A job of a worker that died in line goes to the next when the lease ends."""
    with (
        kv.watch("queue/line/idle/") as places,
        subprocess.Popen(
            [sys.executable, "-c", WAITS, at(nodes)],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        ) as dead,
    ):
        assert next(places).is_there
        dead.kill()
        taken: list[tuple[str, int]] = []

        def work() -> None:
            with kv.queue("line").take() as job:
                taken.append((job.value, job.deliveries))
                job.done()

        worker = threading.Thread(target=work)
        worker.start()
        assert next(places).is_there
        kv.queue("line").put("a")
        worker.join(DEADLINE_S)
        assert taken == [("a", 2)]
        assert list(kv.keys("queue/line/")) == []


def test_a_worker_takes_several_jobs_and_ends_them_together(kv: raftline.KV[str]) -> None:
    jobs = kv.queue("many")
    numbers = [jobs.put(str(number)) for number in range(7)]
    batch = jobs.take_many(5)
    assert [(job.number, job.value) for job in batch] == [
        (number, str(count)) for count, number in enumerate(numbers[:5])
    ]
    batch[1].done()
    batch[2].release()
    with pytest.raises(RuntimeError, match="is done or released already"):
        jobs.done(batch)
    assert batch[0].is_held
    jobs.done([batch[0], batch[3]])
    jobs.release(batch)  # what is left
    assert [job.is_done for job in batch] == [True, True, False, True, False]
    again = jobs.take_many(10)
    assert [(job.value, job.deliveries) for job in again] == [
        ("2", 2), ("4", 2), ("5", 1), ("6", 1)
    ]  # fmt: skip
    jobs.done(again)
    assert jobs.take_many(10, timeout=0) == []
    assert jobs.take_many(10, timeout=0.5) == []
    assert list(kv.keys("queue/many/")) == []


def test_a_worker_ends_its_jobs_with_the_take_of_the_next(kv: raftline.KV[str]) -> None:
    jobs = kv.queue("next")
    for number in range(6):
        jobs.put(str(number))
    first = jobs.take()
    second = jobs.take(timeout=0, done=first)
    assert second is not None
    assert (first.is_done, first.is_held, second.value) == (True, False, "1")
    with pytest.raises(RuntimeError, match="is done or released already"):
        jobs.take(done=first)
    batch = jobs.take_many(2, done=[second])
    left = jobs.take(done=batch[0])  # the other one is still held
    assert batch[1].check() == batch[1].token
    assert left.value == "4"
    last = jobs.take_many(5, timeout=0, done=[left, batch[1]])
    assert [job.value for job in last] == ["5"]
    assert jobs.take_many(5, timeout=0.5, done=last) == []
    assert list(kv.keys("queue/next/")) == []


def test_a_job_that_was_lost_is_not_ended_with_a_take(kv: raftline.KV[str]) -> None:
    jobs = kv.queue("gone")
    jobs.put("a")
    job = jobs.take()
    jobs.put("b")
    kv.clear("queue/gone/held/")
    with pytest.raises(raftline.LeaseLost, match="of gone is not held any more"):
        jobs.take(done=job)
    assert jobs.waiting() == 1


def test_malformed_job_is_never_acknowledged(kv: raftline.KV[str]) -> None:
    jobs, others = kv.queue("these"), kv.queue("others")
    others.put("a")
    with others.take() as other:
        with pytest.raises(ValueError, match="is not a job of these"):
            jobs.done([other])
        with pytest.raises(ValueError, match="is not a job of these"):
            jobs.take(done=other)
        with pytest.raises(TypeError, match="a job is what take returns, not str"):
            jobs.release(["a"])  # type: ignore[list-item]
        assert other.check() == other.token
    for count in (0, 257):
        with pytest.raises(ValueError, match=f"takes 1 to 256 jobs at a time, not {count}"):
            jobs.take_many(count)


def test_jobs_of_one_client_are_under_one_lease(kv: raftline.KV[str]) -> None:
    jobs = kv.queue("lease")
    for value in "abc":
        jobs.put(value)
    taken = [jobs.take(60), *jobs.take_many(2, 60)]
    stats = [kv.stat(key) for key in kv.keys("queue/lease/held/")]
    assert len({stat.lease for stat in stats if stat is not None}) == 1
    jobs.done(taken)


def test_bad_input_of_a_queue(kv: raftline.KV[str]) -> None:
    with pytest.raises(ValueError, match="a job is delivered 1 to 999999999 times at most, not 0"):
        kv.queue("jobs", max_deliveries=0)
    with pytest.raises(ValueError, match="the name of a queue has at least one byte"):
        kv.queue("")
    with pytest.raises(ValueError, match="0 is not a valid lease time"):
        kv.queue("jobs").take(0)
    with pytest.raises(TypeError, match="a value is str here, not bytes"):
        kv.queue("jobs").put(b"a")  # type: ignore[arg-type]
    raw = kv.binary.queue("raw")
    raw.put(b"\xff\x00")
    with raw.take() as job:
        assert job.value == b"\xff\x00"
        job.done(kv.txn().then.set("text", "1"))


def test_asyncio_has_the_same_queue(nodes: Cluster) -> None:
    async def work() -> None:
        async with raftline.aio.connect(at(nodes)) as kv:
            jobs = kv.queue("tasks", max_deliveries=1)
            assert await jobs.take(timeout=0) is None
            waiter = asyncio.ensure_future(jobs.take())
            await asyncio.gather(*(jobs.put(str(number)) for number in range(5)))
            first = await waiter
            assert (await first.done(kv.txn().then.incr("done"))).results == [1]
            done = {first.value}
            while len(done) < 5:
                async with await jobs.take() as job:
                    assert job.value not in done
                    await job.done()
                    done.add(job.value)
            await jobs.put("poison")
            async with await jobs.take() as job:
                number = job.number
            assert await jobs.dead() == [raftline.api.DeadJob(number, "poison", 1)]
            assert await jobs.retry(number)
            assert not await jobs.discard(number)
            assert await jobs.waiting() == 1
            batch = await jobs.take_many(3)
            await jobs.put("last")
            batch = await jobs.take_many(3, done=batch)
            await jobs.release(batch)
            assert await jobs.discard(batch[0].number)
            assert not [key async for key in kv.keys("queue/tasks/")]

    asyncio.run(work())


def test_a_task_that_is_cancelled_in_line_leaves_it(nodes: Cluster) -> None:
    async def work() -> None:
        async with raftline.aio.connect(at(nodes)) as kv, kv.watch("queue/cancel/idle/") as places:
            jobs = kv.queue("cancel")
            for _ in range(3):
                waiting = asyncio.ensure_future(jobs.take(600))
                assert (await anext(places)).is_there
                waiting.cancel()
                assert (await anext(places)).kind == "delete"
                await asyncio.gather(waiting, return_exceptions=True)
            assert not [key async for key in kv.keys("queue/cancel/idle/")]

    asyncio.run(work())


def test_cancelled_takes_lose_no_job(nodes: Cluster) -> None:
    """Whatever the moment is: before the answer, in line, or as a job arrives."""
    count = 40

    async def work() -> None:
        async with raftline.aio.connect(at(nodes)) as kv:
            jobs = kv.queue("cancels", max_deliveries=None)
            done = list[str]()
            for number in range(count):
                take = asyncio.ensure_future(jobs.take(600))
                put = asyncio.ensure_future(jobs.put(str(number)))
                for _ in range(number):
                    await asyncio.sleep(0)
                take.cancel()
                await put
                for each in await asyncio.gather(take, return_exceptions=True):
                    if isinstance(each, raftline.aio.Job):
                        await each.release()
            while len(done) < count:
                job = await jobs.take(600, timeout=DEADLINE_S)
                assert job is not None, "a job was lost"
                await job.done()
                done.append(job.value)
            assert sorted(done, key=int) == [str(number) for number in range(count)]

    asyncio.run(work())


def test_a_worker_needs_the_rights_on_the_keys_of_its_queue(three: Cluster) -> None:
    nodes, word = at(three), "correct horse"
    with raftline.connect(nodes, timeout=DEADLINE_S) as kv:
        for role in ("works", "looks"):
            kv.users.add_role(role)
        kv.users.grant_role("works", "readwrite", "queue/mails/")
        kv.users.grant_role("looks", "read", "queue/mails/")
        kv.users.add("root", word, ["admin"])
    with raftline.connect(nodes, timeout=DEADLINE_S, user="root", password=word) as kv:
        kv.users.add("ann", word, ["works"])
        kv.users.add("bob", word, ["looks"])
    with raftline.connect(nodes, timeout=DEADLINE_S, user="ann", password=word) as kv:
        jobs, taken = kv.queue("mails"), []
        worker = threading.Thread(target=lambda: taken.append(jobs.take(2)))
        worker.start()
        jobs.put("a")
        worker.join(DEADLINE_S)
        jobs.put("b")
        following = jobs.take(2, done=taken[0])
        assert following.done(kv.txn().then.get("queue/mails/none"))
        with pytest.raises(raftline.NotAllowed):
            kv.queue("others").put("a")
        with pytest.raises(raftline.NotAllowed):
            kv.queue("others").take(2)
    with raftline.connect(nodes, timeout=DEADLINE_S, user="bob", password=word) as kv:
        assert kv.queue("mails").waiting() == 0
        for refused in (lambda: kv.queue("mails").put("a"), lambda: kv.queue("mails").take(2)):
            with pytest.raises(raftline.NotAllowed):
                refused()


def test_no_job_is_lost_when_workers_and_a_leader_are_killed(three: Cluster) -> None:
    with raftline.connect(at(three)) as kv:
        jobs = kv.queue("jobs")
        numbers = [jobs.put(str(number)) for number in range(20)]
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", TAKES, at(three)],
                text=True,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": str(SOURCE)},
            )
            for _ in range(2)
        ]
        taken = set()
        for worker in workers:
            assert worker.stdout is not None
            taken.add(worker.stdout.readline().strip())
        for worker in workers:
            worker.kill()
            worker.communicate()
        assert taken == {"0", "1"}
        three.leader().kill()
        deliveries: dict[str, int] = {}
        while len(deliveries) < len(numbers):
            with jobs.take(timeout=DEADLINE_S) or pytest.fail("a job was lost") as job:
                deliveries[job.value] = job.deliveries
                assert job.done(kv.txn().then.incr("done"))
        assert jobs.take(timeout=0) is None
        assert kv["done"] == "20"
        assert {value for value, count in deliveries.items() if count == 2} == taken
