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
from raftline_testing.nodes.processes import DEADLINE_S, eventually
from tests.processes.typed import at

WAITS = """
import raftline, sys
raftline.connect(sys.argv[1], name="worker").queue("line").take(30)
"""
TAKES = """
import raftline, sys, threading
job = raftline.connect(sys.argv[1], name="worker").queue("jobs").take(3)
print(job.value, flush=True)
threading.Event().wait()
"""


def test_jobs_come_in_order_and_end_with_their_result(kv: raftline.KV[str]) -> None:
    jobs = kv.queue("order")
    assert [jobs.put(value) for value in ("a", "", "ü b")] == [1, 2, 3]
    assert jobs.waiting() == 3
    for number, value in enumerate(("a", "", "ü b"), start=1):
        with jobs.take(timeout=0) or pytest.fail("no job") as job:
            assert (job.number, job.value, job.deliveries) == (number, value, 1)
            assert job.check() == job.token
            outcome = job.done(kv.txn().then.set(f"result/{number}", "ok").incr("results"))
            assert outcome.succeeded
            assert outcome.results == [True, number]
            assert not job.is_held
    assert jobs.take(timeout=0) is None
    left = {key.removeprefix("queue/order/") for key in kv.keys("queue/order/")}
    assert left - {"sweep"} == {"line/head", "line/tail"}
    assert kv["results"] == "3"


def test_a_job_that_is_given_back_is_delivered_again_and_dies_at_last(
    kv: raftline.KV[str],
) -> None:
    jobs = kv.queue("bad", max_deliveries=2)
    number = jobs.put("poison")

    def fail(count: int) -> None:
        with jobs.take(timeout=DEADLINE_S) or pytest.fail("no job") as job:
            assert (job.number, job.deliveries) == (number, count)
            raise OSError("broken")

    for count in (1, 2):
        with pytest.raises(OSError, match="broken"):
            fail(count)
    while not jobs.dead():  # on a busy machine the first look may come late
        assert jobs.take(timeout=2.5) is None
    assert jobs.dead() == [raftline.api.DeadJob(number, "poison", 2)]
    assert (jobs.retry(number), jobs.retry(number), jobs.dead()) == (True, False, [])
    job = jobs.take(timeout=DEADLINE_S)
    assert job is not None
    assert (job.value, job.deliveries) == ("poison", 1)
    job.release()
    while not jobs.dead():
        assert kv.queue("bad", max_deliveries=1).take(timeout=2.5) is None
    assert (jobs.discard(number), jobs.discard(number), jobs.dead()) == (True, False, [])


def test_a_condition_of_the_result_that_fails_leaves_the_job_held(kv: raftline.KV[str]) -> None:
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
    with pytest.raises(RuntimeError, match="job 1 of condition is done or released already"):
        job.done()
    assert kv.get("there") is None


def test_done_takes_as_many_operations_as_its_own_leave_room_for(kv: raftline.KV[str]) -> None:
    jobs = kv.queue("large")
    jobs.put("a")
    job = jobs.take()
    full, many = kv.txn().then, kv.txn().if_
    for number in range(1022):
        full.set(f"large/{number}", "x")
    for number in range(1024):
        many.absent(f"none/{number}")
    with pytest.raises(ValueError, match="done takes up to 1021 operations, not 1022: 3 end the"):
        job.done(full)
    with pytest.raises(ValueError, match="done takes up to 1023 conditions, not 1024: 1 says that"):
        job.done(many.then.set("large/0", "x"))
    assert job.check() == job.token
    fits = kv.txn().if_
    for number in range(1023):
        fits.absent(f"none/{number}")
    results = fits.then
    for number in range(1021):
        results.set(f"large/{number}", "x")
    assert job.done(results)
    assert kv.clear("large/") == 1021


def test_a_worker_that_lost_its_job_can_not_end_it(kv: raftline.KV[str]) -> None:
    jobs = kv.queue("lost")
    jobs.put("a")
    slow = jobs.take()
    kv.delete(f"queue/lost/held/{slow.number:016}")  # as if its lease had ended
    with jobs.take(timeout=DEADLINE_S) or pytest.fail("no job") as fast:
        assert (fast.number, fast.deliveries) == (slow.number, 2)
        assert fast.token > slow.token
        with pytest.raises(raftline.LeaseLost, match="job 1 of lost is not held any more"):
            slow.done(kv.txn().then.set("twice", "1"))
        fast.done()
    assert kv.get("twice") is None


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


def test_waiting_workers_take_jobs_in_the_order_in_which_they_came(kv: raftline.KV[str]) -> None:
    taken: list[tuple[int, str]] = []

    def work(number: int) -> None:
        with kv.queue("turns").take() as job:
            taken.append((number, job.value))
            job.done()

    workers = []
    with kv.watch("queue/turns/line/lease-") as places:
        for number in range(5):
            workers.append(threading.Thread(target=work, args=(number,)))
            workers[-1].start()
            assert next(places).kind == "set"
    jobs = kv.queue("turns")
    for number in range(5):
        jobs.put(f"job {number}")
        eventually(lambda: len(taken) > number, "the next worker")  # noqa: B023
    for worker in workers:
        worker.join(DEADLINE_S)
    assert taken == [(number, f"job {number}") for number in range(5)]
    assert list(kv.keys("queue/turns/line/lease-")) == []


def test_a_worker_that_died_in_line_delays_the_others_for_a_moment_only(
    nodes: Cluster, kv: raftline.KV[str]
) -> None:
    """Its lease lasts for longer than this test may."""
    with (
        kv.watch("queue/line/line/lease-") as places,
        subprocess.Popen(
            [sys.executable, "-c", WAITS, at(nodes)],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        ) as dead,
    ):
        assert next(places).kind == "set"
        dead.kill()
        taken: list[str] = []

        def work() -> None:
            with kv.queue("line").take() as job:
                taken.append(job.value)
                job.done()

        worker = threading.Thread(target=work)
        worker.start()
        assert next(places).kind == "set"
        kv.queue("line").put("a")
        worker.join(DEADLINE_S)
        assert taken == ["a"]
        assert not kv.queue("line").take(timeout=0)


def test_workers_that_died_in_line_delay_a_job_once_and_not_one_after_the_other(
    nodes: Cluster, kv: raftline.KV[str]
) -> None:
    """Who passes over the first of them takes the job; the places of the others are still there."""
    dead = [f"queue/line/line/{kv.lease(600).grant()}" for _ in range(4)]
    for place in dead:
        kv.set(place, "a worker that is dead")
    with kv.watch("queue/line/line/lease-") as places:
        jobs: list[raftline.api.Job[str]] = []
        worker = threading.Thread(target=lambda: jobs.append(kv.queue("line").take()))
        worker.start()
        while next(places).key in dead:
            pass
        kv.queue("line").put("a")
        worker.join(DEADLINE_S)
    assert [job.value for job in jobs] == ["a"]
    assert set(kv.keys("queue/line/line/lease-")) == set(dead[1:])
    jobs[0].done()
    kv.clear("queue/line/")


def test_a_busy_worker_needs_two_entries_for_a_job(kv: raftline.KV[str]) -> None:
    """One takes it, and one ends it. The lease serves for all jobs."""
    jobs = kv.queue("busy")
    for number in range(20):
        jobs.put(str(number))
    tokens = []
    for _ in range(20):
        with jobs.take(60, timeout=0) or pytest.fail("no job") as job:
            tokens.append(job.token)
            assert job.is_held
            job.done()
            assert not job.is_held
    grants_and_sweeps = 6
    assert tokens[-1] - tokens[0] <= 2 * 19 + grants_and_sweeps
    assert len({kv.stat(key) for key in kv.keys("queue/busy/held/")}) == 0


def test_puts_that_wait_together_cost_an_entry_each(nodes: Cluster, kv: raftline.KV[str]) -> None:
    count = 50

    async def put() -> None:
        async with raftline.aio.connect(at(nodes)) as client:
            jobs = client.queue("together")
            await jobs.put("first")
            numbers = await asyncio.gather(*(jobs.put(str(each)) for each in range(count)))
            assert numbers == list(range(2, count + 2))
            new = await asyncio.gather(*(client.queue("together").put("") for _ in range(count)))
            assert new == list(range(count + 2, 2 * count + 2))

    asyncio.run(put())
    first, last = (kv.stat(f"queue/together/jobs/{number:016}") for number in (1, 2 * count + 1))
    assert first is not None
    assert last is not None
    lines_sent_again = count
    assert last.index - first.index <= 2 * count + lines_sent_again


def test_puts_of_threads_wait_for_each_other(kv: raftline.KV[str]) -> None:
    jobs, numbers = kv.queue("threads"), []
    threads = [threading.Thread(target=lambda: numbers.append(jobs.put("a"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert sorted(numbers) == list(range(1, 21))
    stats = (kv.stat(f"queue/threads/jobs/{number:016}") for number in (1, 20))
    first, last = (stat.index for stat in stats if stat is not None)
    sessions_and_lines_sent_again = 40
    assert last - first <= 19 + sessions_and_lines_sent_again


def test_idle_workers_write_nothing(kv: raftline.KV[str], nodes: Cluster) -> None:
    """They look for jobs that nobody holds, while another worker holds one."""
    jobs = kv.queue("idle")
    jobs.put("long")
    held = jobs.take(600)
    with raftline.connect(at(nodes)) as idle, kv.watch("queue/idle/") as watch:
        jobs.put("short")
        worker = idle.queue("idle").take(600)
        assert worker.done()
        assert idle.queue("idle").take(600, timeout=3) is None
        changed = {event.key.split("/")[2] for event in watch.sync() or pytest.fail("no events")}
    assert "sweep" not in changed
    held.release()
    with kv.queue("idle").take(timeout=DEADLINE_S) or pytest.fail("no job") as again:
        assert again.value == "long"


def test_a_lease_that_was_set_aside_is_renewed_again(kv: raftline.KV[str]) -> None:
    jobs = kv.queue("spare")
    lost = threading.Event()
    for _ in range(2):
        jobs.put("a")
    with jobs.take(2) as job:
        lease = kv.stat("queue/spare/held/0000000000000001")
        job.done()
    with jobs.take(2, on_lost=lost.set) as job:
        held = kv.stat("queue/spare/held/0000000000000002")
        assert lease is not None
        assert held is not None
        assert held.lease == lease.lease
        assert not job.wait_lost(timeout=3)  # it is renewed, as the first one was
        assert job.check() == job.token
        kv.request(f"release {held.lease}")
        assert lost.wait(DEADLINE_S)
        with pytest.raises(raftline.LeaseLost):
            job.done()
        with pytest.raises(raftline.LeaseLost):
            job.release()


def test_bad_input_of_a_queue(kv: raftline.KV[str]) -> None:
    with pytest.raises(ValueError, match="a job is delivered at least once, not 0 times"):
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
            while not await jobs.dead():
                assert await jobs.take(timeout=2.5) is None
            assert await jobs.dead() == [raftline.api.DeadJob(number, "poison", 1)]
            assert await jobs.retry(number)
            assert not await jobs.discard(number)
            assert await jobs.waiting() == 0

    asyncio.run(work())


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
