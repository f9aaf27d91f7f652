"""Takes that fail, are cancelled or come late, and ends of jobs without an answer: no job stays
with a program that does not know of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

from raftline.clients.calls.calls import CALLS, Call
from raftline.clients.calls.kv_errors import LeaseLost, TooManyWatches
from raftline.clients.calls.value_codec import TEXT
from raftline.clients.connections.node_connection import ClientError, OutcomeUnknown, Unreachable
from raftline.recipes import command_effects
from raftline.recipes.locks import claims
from raftline.recipes.queues import queue_steps
from raftline.recipes.queues.aio_job_queue import AioQueue
from raftline.recipes.queues.job_queue import Job, Queue
from raftline.recipes.recipe_keys import keys_of
from raftline.recipes.tests.rim.lock_cluster import AioCluster, Cluster, Watch, keeps_on
from raftline_testing.nodes.processes import DEADLINE_S, eventually

TTL_S = 10
PREFIX = "queue/jobs/"


def queue_of(cluster: Any, kind: type[Any] = Queue) -> Any:
    def claim(take: Any, keys: Any, ttl: float, on_lost: Any) -> Any:
        return take(cluster, cluster.keeper, cluster.watch, keys, ttl, on_lost, "program")

    return kind("jobs", TEXT, None, cluster, claim)


def kinds(cluster: Cluster | AioCluster) -> list[str]:
    """Return the kinds of a queue's keys that exist."""
    return sorted(key.removeprefix(PREFIX).partition("/")[0] for key in dict(cluster.keys()))


def waiting_worker(cluster: Cluster, take: Callable[[], object]) -> threading.Thread:
    """Start a worker, and return once it has a place in line."""
    is_in_line = threading.Event()

    def after(command: str) -> None:
        if command.startswith("dequeue"):
            is_in_line.set()

    cluster.after = after
    worker = threading.Thread(target=take)
    worker.start()
    assert is_in_line.wait(DEADLINE_S)
    cluster.after = lambda command: None
    return worker


def test_a_take_looks_again_behind_many_jobs_without_values() -> None:
    """A look drops a hundred of the jobs whose values someone has deleted."""
    cluster = Cluster()
    jobs = queue_of(cluster)
    for _ in range(250):
        jobs.put("gone")
    cluster.ask(CALLS.clear(f"{PREFIX}jobs/"))
    jobs.put("here")
    assert jobs.take(TTL_S, timeout=5).value == "here"


@pytest.mark.parametrize("point", ["before", "after"])
def test_a_take_without_an_answer_keeps_no_job(point: str) -> None:
    """Whether the request took effect or not."""
    cluster = Cluster()
    jobs = queue_of(cluster)
    jobs.put("a")

    def fails(command: str) -> None:
        if command.startswith(("dequeue", "abandon")):
            raise OutcomeUnknown("no answer")

    setattr(cluster, point, fails)
    with pytest.raises(OutcomeUnknown):
        jobs.take(TTL_S, timeout=5)
    setattr(cluster, point, lambda command: None)
    keeps_on(cluster)
    assert kinds(cluster) == ["jobs", "wait"]
    job = jobs.take(TTL_S)
    assert (job.value, job.deliveries) == ("a", 1 if point == "before" else 2)


@pytest.mark.pure  # a bound of a compiled module can't be replaced
@pytest.mark.parametrize("is_long", [False, True], ids=["short", "long"])
@pytest.mark.parametrize("is_handed", [False, True], ids=["at once", "handed"])
def test_worker_knows_each_job_that_it_holds(
    is_long: bool, is_handed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long jobs come one by one, and those that an ended lease gives back all at once."""
    if is_long:
        monkeypatch.setattr(command_effects, "TAKEN_BYTES", 5)
    cluster, taken = Cluster(), list[Job[str]]()
    jobs = queue_of(cluster)
    for value in "abc":
        jobs.put(value)
    if is_handed:
        lease = cluster.carry_out(Call("lease 10", str)).split()[2]
        for _ in range(3):  # a few at a time, as they fit
            cluster.carry_out(Call(f"dequeue {PREFIX} 3 10 now {lease}/1", str))
        take = waiting_worker(cluster, lambda: taken.extend(jobs.take_many(3, TTL_S)))
        cluster.ask(Call(f"release {lease}", str))
        take.join(DEADLINE_S)
    else:
        taken = jobs.take_many(3, TTL_S)
    held = [key for key in dict(cluster.keys()) if key.startswith(f"{PREFIX}held/")]
    assert sorted([int(key[-19:]) for key in held]) == [job.number for job in taken]
    assert "".join([job.value for job in taken]) == ("abc" if is_handed or not is_long else "a")
    for job in taken:
        job.done()


@pytest.mark.parametrize("error", [Unreachable, OutcomeUnknown])
@pytest.mark.parametrize("verb", ["lease", "dequeue", "dequeue queue/jobs/ 0 "])
@pytest.mark.parametrize("point", ["before", "after"])
def test_a_take_without_a_limit_begins_again_after_an_outage(
    monkeypatch: pytest.MonkeyPatch, error: type[ClientError], verb: str, point: str
) -> None:
    monkeypatch.setattr(claims, "LONGEST_PAUSE_S", 0.0)
    is_handed_over = verb.endswith(" 0 ")  # to a place in line, and to be taken over
    cluster, left = Cluster(), [1 if is_handed_over else 3]
    cluster.was_served = True
    jobs = queue_of(cluster)

    def fails(command: str) -> None:
        if command.startswith(verb) and left[0]:
            left[0] -= 1
            raise error("no answer")

    taken: list[Job[str]] = []
    setattr(cluster, point, fails)
    if is_handed_over:
        worker = threading.Thread(target=lambda: taken.append(jobs.take(TTL_S)))
        worker.start()
        eventually(lambda: any(key.startswith(f"{PREFIX}idle/") for key in dict(cluster.keys())))
        jobs.put("a")
        worker.join(DEADLINE_S)
    else:
        jobs.put("a")
        taken.append(jobs.take(TTL_S))
    assert left == [0]
    keeps_on(cluster)
    assert taken[0].check() == taken[0].token
    taken[0].done()
    assert cluster.keys() == {}


def test_a_job_that_comes_as_the_time_ends_is_returned() -> None:
    """It was handed over just before the worker left the line."""
    cluster = Cluster()
    jobs = queue_of(cluster)

    def before(command: str) -> None:
        if command.startswith("dequeue queue/jobs/ 0 "):
            cluster.before = lambda command: None
            jobs.put("late")

    cluster.before = before
    job = jobs.take(TTL_S, timeout=0.05)
    assert (job.value, job.deliveries) == ("late", 1)
    job.done()
    assert cluster.keys() == {}


@pytest.mark.parametrize("verb", ["dequeue queue/jobs/ 0 ", "show queue/jobs/held/"])
def test_late_worker_returns_what_it_could_not_learn_of(verb: str) -> None:
    """A worker whose time is over gives back what it could not learn of."""
    cluster = Cluster()
    jobs = queue_of(cluster)
    is_in_line = []

    def after(command: str) -> None:
        if command.startswith("dequeue queue/jobs/ 1 "):
            is_in_line.append(1)

    def before(command: str) -> None:
        if is_in_line and command.startswith(verb):
            if not keys_of(cluster.model.store).count(f"{PREFIX}wait/"):
                cluster.model.ask(Call(f"enqueue {PREFIX} late", str))
            raise OutcomeUnknown("no answer")
        if is_in_line and command.startswith("abandon"):
            raise OutcomeUnknown("no answer")

    cluster.before, cluster.after = before, after
    assert jobs.take(TTL_S, timeout=0.3) is None
    cluster.before = cluster.after = lambda command: None
    keeps_on(cluster)
    assert set(kinds(cluster)) == {"jobs", "wait"}


def test_a_task_that_is_cancelled_in_line_leaves_no_key_behind() -> None:
    cluster = AioCluster()

    async def work() -> None:
        jobs = queue_of(cluster, AioQueue)
        take = asyncio.ensure_future(jobs.take(TTL_S))
        await asyncio.sleep(0.01)
        assert kinds(cluster) == ["idle"]
        take.cancel()
        await asyncio.gather(take, return_exceptions=True)
        assert dict(cluster.model.store.items()) == {}
        assert not any(command.startswith("abandon") for command in cluster.asked)

    asyncio.run(work())


def test_a_task_that_is_cancelled_as_its_job_comes_gives_it_back() -> None:
    cluster = AioCluster()

    async def work() -> None:
        jobs = queue_of(cluster, AioQueue)
        take = asyncio.ensure_future(jobs.take(TTL_S))
        await asyncio.sleep(0.01)
        await jobs.put("a")
        assert kinds(cluster) == ["held", "jobs"]
        take.cancel()
        await asyncio.gather(take, return_exceptions=True)
        assert kinds(cluster) == ["jobs", "wait"]

    asyncio.run(work())


async def wait_for_job(cluster: AioCluster) -> None:
    await queue_of(cluster, AioQueue).take(TTL_S)


async def exchange(cluster: AioCluster) -> None:
    jobs = queue_of(cluster, AioQueue)
    await jobs.put("a")
    await jobs.take(TTL_S, done=await jobs.take(TTL_S))


async def wait_for_lock(cluster: AioCluster) -> None:
    await cluster.lock().acquire()
    await cluster.lock().acquire()


@pytest.mark.parametrize("act", [wait_for_job, exchange, wait_for_lock])
def test_program_that_is_dropped_anywhere_asks_nothing_more(
    act: Callable[[AioCluster], Coroutine[Any, Any, None]],
) -> None:
    """Its generators are closed, since no loop carries out another step."""

    async def drop_after(turns: int) -> bool:
        cluster = AioCluster()
        cluster.ways = 1
        program = act(cluster)
        for _ in range(turns):
            if program.send(None) is not None:  # it waits for others
                turns = 0
                break
        before = len(cluster.asked)
        program.close()
        assert len(cluster.asked) == before
        return not turns

    places = 1
    while not asyncio.run(drop_after(places)):
        places += 1
    assert places > 5


def test_a_worker_takes_a_new_place_if_someone_deletes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_steps, "CHECK_S", 0.02)
    cluster, taken = Cluster(), list[Job[str]]()
    jobs = queue_of(cluster)
    worker = waiting_worker(cluster, lambda: taken.append(jobs.take(TTL_S)))
    cluster.ask(Call(f"clear {PREFIX}", str))
    eventually(lambda: kinds(cluster) == ["idle"])
    jobs.put("a")
    worker.join(DEADLINE_S)
    assert [job.value for job in taken] == ["a"]


def test_a_worker_without_a_watch_looks_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_steps, "POLL_S", 0.01)
    cluster, taken = Cluster(), list[Job[str]]()

    class Refusing(Watch):
        def _step(self, until_s: float | None = None) -> bool:
            raise TooManyWatches("no node serves another watch")

    monkeypatch.setattr(cluster, "watch", partial(Refusing, cluster))
    jobs = queue_of(cluster)
    worker = waiting_worker(cluster, lambda: taken.append(jobs.take(TTL_S)))
    number = cluster.model.store.number
    jobs.put("a")
    worker.join(DEADLINE_S)
    assert [job.value for job in taken] == ["a"]
    assert cluster.keys().keys() >= {f"{PREFIX}jobs/{number + 1:019}"}
    assert jobs.take(TTL_S, timeout=0.05) is None


def test_a_job_whose_value_was_deleted_is_not_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, taken = Cluster(), list[Job[str]]()
    jobs = queue_of(cluster)
    worker = waiting_worker(cluster, lambda: taken.append(jobs.take(TTL_S)))
    is_first = [True]

    def before(command: str) -> None:
        if command.startswith(f"dequeue {PREFIX} 0 ") and is_first:
            is_first.clear()
            cluster.model.ask(Call(f"clear {PREFIX}jobs/", str))

    cluster.before = before
    jobs.put("a")
    with cluster.changed:
        assert cluster.changed.wait_for(
            lambda: not is_first and kinds(cluster) == ["idle"], DEADLINE_S
        )
    jobs.put("b")
    worker.join(DEADLINE_S)
    assert [job.value for job in taken] == ["b"]


# --- the ends of jobs ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("point", ["before", "after"])
@pytest.mark.parametrize("is_done", [True, False])
def test_the_end_of_jobs_is_repeated_until_it_is_answered(
    point: str, is_done: bool, count: int
) -> None:
    cluster = Cluster()
    jobs = queue_of(cluster)
    for value in "abc"[:count]:
        jobs.put(value)
    taken = jobs.take_many(count, TTL_S)

    def fails(command: str) -> None:
        raise Unreachable("no answer")

    setattr(cluster, point, fails)
    with pytest.raises(Unreachable):
        jobs.done(taken) if is_done else jobs.release(taken)
    setattr(cluster, point, lambda command: None)
    for job in taken:
        assert not job.is_held
        assert not job.is_done
        with pytest.raises(RuntimeError, match="is done or released already"):
            job.release()
    keeps_on(cluster)
    assert kinds(cluster) == ([] if is_done else [*["jobs"] * count, *["wait"] * count])


@pytest.mark.parametrize("theirs", [object(), "set a 1", 5, lambda: None])
def test_job_ends_with_no_other_thing_than_a_transaction(theirs: Any) -> None:
    cluster = Cluster()
    jobs = queue_of(cluster)
    jobs.put("a")
    job = jobs.take(TTL_S)
    with pytest.raises(TypeError, match="done takes a transaction that is not committed"):
        job.done(theirs)
    assert job.check() == job.token
    job.done()


def test_end_of_a_job_is_not_repeated_while_awaited() -> None:
    """Otherwise the repetition would end it, and the awaited answer would report a loss."""
    cluster = Cluster()
    jobs = queue_of(cluster)
    jobs.put("a")
    job = jobs.take(TTL_S)
    timer = job._lease._granted().timer

    def before(command: str) -> None:
        for each in timer.unanswered():
            cluster.carry_out(Call(each, str))

    cluster.before = before
    job.done()
    assert job.is_done


def test_end_of_a_job_is_repeated_if_its_task_is_cancelled() -> None:
    """The end of a task's job is repeated if the task is cancelled."""
    cluster = AioCluster()

    async def work() -> None:
        jobs = queue_of(cluster, AioQueue)
        await jobs.put("a")
        job = await jobs.take(TTL_S)
        cluster.ways = 3
        end = asyncio.ensure_future(job.done())
        await asyncio.sleep(0)
        end.cancel()
        await asyncio.gather(end, return_exceptions=True)
        assert end.cancelled()

    asyncio.run(work())
    keeps_on(cluster)
    assert cluster.keys() == {}


@pytest.mark.parametrize("point", ["before", "after"])
def test_an_exchange_without_an_answer_gives_up_both_jobs(point: str) -> None:
    cluster = Cluster()
    jobs = queue_of(cluster)
    jobs.put("a")
    jobs.put("b")
    job = jobs.take(TTL_S)

    def fails(command: str) -> None:
        if command.startswith("dequeue"):
            raise OutcomeUnknown("no answer")

    setattr(cluster, point, fails)
    with pytest.raises(OutcomeUnknown):
        jobs.take(TTL_S, done=job)
    setattr(cluster, point, lambda command: None)
    assert not job.is_held
    assert not job.is_done
    left = ["a", "b"] if point == "before" else ["b"]
    assert [each.value for each in jobs.take_many(5, TTL_S)] == left


def test_an_exchange_leaves_the_other_jobs_of_the_take_alone() -> None:
    """A take in doubt is given up as a whole, so it has a claim of its own."""
    cluster = Cluster()
    jobs = queue_of(cluster)
    for value in "abc":
        jobs.put(value)
    first, second = jobs.take_many(2, TTL_S)

    def fails(command: str) -> None:
        if command.startswith("dequeue queue/jobs/ 1 "):
            raise OutcomeUnknown("no answer")

    cluster.after = fails
    with pytest.raises(OutcomeUnknown):
        jobs.take(TTL_S, done=first)
    cluster.after = lambda command: None
    assert first.is_done
    assert second.check() == second.token
    second.done()
    assert [each.value for each in jobs.take_many(5, TTL_S)] == ["c"]


def test_lease_unknown_to_the_cluster_is_not_reused() -> None:
    """A lease that the cluster does not know is not used again."""
    cluster, lost = Cluster(), list[int]()
    jobs = queue_of(cluster)
    jobs.put("a")
    jobs.put("b")
    job = jobs.take(TTL_S, on_lost=lambda: lost.append(1))
    cluster.ask(Call(f"release {job._lease.id}", str))
    with pytest.raises(LeaseLost, match="is not held any more"):
        job.done()
    assert [each.value for each in jobs.take_many(2, TTL_S, timeout=DEADLINE_S)] == ["a", "b"]
    assert job._lease.id not in cluster.model.store.leases.granted
