"""One lock or election object that many threads or tasks use, at a cluster in memory."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import pytest

from raftline.clients.calls.calls import CALLS, Call
from raftline.clients.calls.kv_errors import LeaseLost, TooManyWatches
from raftline.clients.locks import claims
from raftline.clients.requests.node_connection import Closed, Unreachable
from raftline.common.process.wakeup import Flag
from raftline_testing.nodes.processes import eventually
from tests.rim.lock_cluster import HELD, AioCluster, AioWatch, Cluster, Watch

DEADLINE_S = 30.0
OF_LOCKS = (
    "/threading.py",
    "/wakeup.py",
    "/steps.py",
    *(f"/kv/{name}.py" for name in ("lock", "claims", "callers", "lease", "lease_timer")),
)
Result = TypeVar("Result")
Work = Callable[[], Coroutine[Any, Any, None]]


def run(work: Work) -> None:
    asyncio.run(asyncio.wait_for(work(), DEADLINE_S))


class Threads:
    """Threads that a test begins, and what each of them raised."""

    def __init__(self) -> None:
        self.begun: list[threading.Thread] = []
        self.raised: list[BaseException] = []

    def begin(self, work: Callable[[], object]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                self.raised.append(error)

        thread = threading.Thread(target=guarded, daemon=True)
        self.begun.append(thread)
        thread.start()
        return thread

    def end(self) -> None:
        for thread in self.begun:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()
        assert self.raised == []


def waits_for(cluster: Cluster, condition: Callable[[], object]) -> None:
    with cluster.changed:
        assert cluster.changed.wait_for(condition, DEADLINE_S)


def in_line(lock: Any, count: int) -> None:
    """Wait until so many callers stand in line at one object."""
    eventually(lambda: len(lock._callers._line) >= count)


async def in_line_of_tasks(lock: Any, count: int) -> None:
    while len(lock._callers._line) < count:
        await asyncio.sleep(0)


def lose(cluster: Cluster) -> None:
    cluster.keeper.kept[-1].lose()  # type: ignore[attr-defined]


# --- one object, many callers -------------------------------------------------------------------


def test_threads_that_share_a_lock_have_it_one_after_the_other() -> None:
    cluster, threads, inside = Cluster(), Threads(), threading.Lock()
    lock = cluster.lock()
    tokens: list[int] = []

    def work() -> None:
        for timeout in (None, -1, 20, 30.5):
            token = lock.acquire(timeout=timeout)
            assert token == lock.token
            assert inside.acquire(blocking=False), "two hold it"
            assert lock.check() == token
            tokens.append(token)
            inside.release()
            lock.release()

    for _ in range(8):
        threads.begin(work)
    threads.end()
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 32
    assert cluster.keys() == {}


def test_a_thread_that_tries_once_does_not_take_part_in_the_wait_of_another() -> None:
    cluster, threads, got = Cluster(), Threads(), []
    other, lock = cluster.lock(), cluster.lock()
    other.acquire()
    threads.begin(lambda: got.append(lock.acquire()))
    waits_for(cluster, lambda: len(cluster.keys()) == 2)  # it is next
    asked = len(cluster.asked)
    for _ in range(20):
        assert lock.acquire(timeout=0) is None
        assert lock.acquire(blocking=False) is None
        assert not lock.is_held
    assert len(cluster.asked) == asked
    other.release()
    threads.end()
    assert got == [lock.token]
    lock.release()
    assert cluster.keys() == {}


def no_watch(prefix: str) -> Any:
    class Refusing:
        _is_closed = is_listed = False

        def _step(self, until_s: float | None = None) -> bool:
            raise TooManyWatches("this server serves at most 5 watches of one user.")

        def close(self) -> None:
            pass

    return Refusing()


@pytest.mark.parametrize("kind", ["lock", "shared_lock"])
def test_a_lock_that_gets_no_watch_looks_again_and_again(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "POLL_S", 0.01)
    cluster = Cluster()
    first, second = cluster.lock(), getattr(cluster, kind)()
    second._watching = no_watch
    first.acquire()
    threads = Threads()
    threads.begin(second.acquire)
    waits_for(cluster, lambda: cluster.asked.count("show lock/nightly/") >= 3)
    first.release()
    threads.end()
    assert second.is_held


def test_a_task_s_lock_that_gets_no_watch_looks_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(claims, "POLL_S", 0.01)

    class Refusing(AioWatch):
        async def _step(self, until_s: float | None = None) -> bool:
            raise TooManyWatches("this server serves at most 5 watches of one user.")

    async def work() -> None:
        cluster = AioCluster()
        first, second = cluster.lock(), cluster.lock()
        second._watching = lambda prefix: Refusing(cluster, prefix)
        await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        while cluster.asked.count("show lock/nightly/") < 3:
            await asyncio.sleep(0)
        await first.release()
        assert await waiting is not None
        assert second.is_held

    run(work)


def test_threads_stand_in_line_at_a_shared_lock_within_their_own_time() -> None:
    cluster, threads = Cluster(), Threads()
    lock = cluster.lock()
    order: list[int] = []

    def work(number: int) -> None:
        with lock:
            order.append(number)

    with lock:
        for number in range(4):
            threads.begin(lambda number=number: work(number))
            in_line(lock, number + 1)
        assert lock.acquire(timeout=0.01) is None
        in_line(lock, 4)
        assert order == []
    threads.end()
    assert order == [0, 1, 2, 3]


def test_threads_that_share_an_election_lead_one_after_the_other() -> None:
    cluster, threads = Cluster(), Threads()
    election = cluster.election()
    leaders: list[str | None] = []

    def work(name: str) -> None:
        assert election.campaign(name) == election.token
        leaders.append(election.leader())
        election.resign()

    for number in range(6):
        threads.begin(lambda number=number: work(f"program {number}"))
    threads.end()
    assert sorted(map(str, leaders)) == [f"program {number}" for number in range(6)]
    assert cluster.keys() == {}


def test_tasks_that_share_a_lock_have_it_one_after_the_other() -> None:
    async def work() -> None:
        cluster = AioCluster()
        cluster.ways = 3
        lock = cluster.lock()
        order: list[int] = []
        inside = False

        async def handle(number: int) -> None:
            nonlocal inside
            async with lock as token:
                assert not inside, "two hold it"
                inside = True
                assert await lock.check() == token == lock.token
                order.append(number)
                inside = False

        await asyncio.gather(*map(handle, range(5)))
        assert order == list(range(5))
        assert cluster.keys() == {}

    run(work)


def test_a_task_that_tries_once_does_not_take_part_in_the_wait_of_another() -> None:
    async def work() -> None:
        cluster = AioCluster()
        cluster.ways = 2
        other, lock = cluster.lock(), cluster.lock()
        await other.acquire()
        waits = asyncio.ensure_future(lock.acquire())
        tries = [asyncio.ensure_future(lock.acquire(timeout=0)) for _ in range(40)]
        await other.release()
        assert await asyncio.gather(*tries) == [None] * 40
        assert await waits == lock.token
        await lock.release()
        assert cluster.keys() == {}

    run(work)


def test_tasks_that_share_a_lock_may_be_cancelled_at_any_turn() -> None:
    async def work() -> None:
        for turns in range(60):
            cluster = AioCluster()
            cluster.ways = 2
            lock = cluster.lock()
            tasks = [asyncio.ensure_future(lock.acquire(timeout=20)) for _ in range(3)]
            for _ in range(turns):
                await asyncio.sleep(0)
            tasks[0].cancel()
            tasks[1].cancel()
            done = await asyncio.gather(*tasks[:2], return_exceptions=True)
            if any(isinstance(each, int) for each in done):  # it had it by then
                await lock.release()
            if isinstance(done[0], int) and isinstance(done[1], int):
                raise AssertionError("two hold it")
            assert await tasks[2] == lock.token
            await lock.release()
            assert cluster.keys() == {}

    run(work)


def test_a_task_waits_in_line_within_its_own_time() -> None:
    async def work() -> None:
        lock = AioCluster().lock()
        async with lock:
            assert await lock.acquire(timeout=0.01) is None
            late = asyncio.ensure_future(lock.acquire(timeout=DEADLINE_S))
            await in_line_of_tasks(lock, 1)
        assert await late == lock.token

    run(work)


def test_a_task_that_is_cancelled_as_its_turn_comes_leaves_it_to_the_next() -> None:
    async def work() -> None:
        lock = AioCluster().lock()
        await lock.acquire()
        second = asyncio.ensure_future(lock.acquire())
        third = asyncio.ensure_future(lock.acquire())
        await in_line_of_tasks(lock, 2)
        await lock.release()  # the turn is the second one's, which does not run yet
        second.cancel()
        assert await third == lock.token
        assert second.cancelled()
        await lock.release()

    run(work)


def test_a_thread_whose_time_is_over_as_its_turn_comes_leaves_it_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock = Cluster().lock()
    lock.acquire()

    class Late(Flag):
        def wait(self, timeout_s: float | None = None) -> bool:
            lock.release()  # after its time, and before it says so
            return False

    monkeypatch.setattr("raftline.clients.locks.lock.Flag", Late)
    assert lock.acquire(timeout=0.01) is None
    monkeypatch.undo()
    assert lock.acquire(timeout=0) is not None


# --- what is held no more -----------------------------------------------------------------------


def test_check_and_release_of_a_lock_that_was_broken_report_its_loss() -> None:
    cluster, lost = Cluster(), threading.Event()
    first, second = cluster.lock(on_lost=lost.set), cluster.lock()
    first.acquire()
    assert first.check() == first.token
    cluster.ask(CALLS.delete(HELD))
    token = second.acquire(timeout=0)
    assert second.check() == token
    assert first.is_held  # as far as it knows
    with pytest.raises(LeaseLost, match=f"^{HELD} no longer belongs to this program"):
        first.check()
    assert not first.is_held
    assert lost.wait(DEADLINE_S)
    with pytest.raises(LeaseLost):
        first.check()
    with pytest.raises(LeaseLost):
        first.release()
    with pytest.raises(RuntimeError, match="not held by this program"):
        first.release()
    assert second.check() == token
    second.release()
    assert second.acquire(timeout=0) is not None
    cluster.ask(CALLS.set(HELD, "by hand"))
    with pytest.raises(LeaseLost, match=f"^{HELD} no longer belongs to this program"):
        second.release()
    assert not second.is_held
    assert cluster.keys() == {HELD: "by hand"}


def test_a_lock_whose_time_ends_amid_a_check_is_not_confirmed() -> None:
    cluster = Cluster()
    lock = cluster.lock()
    lock.acquire()

    def takes_long(command: str) -> None:
        if command.startswith("stat "):
            timer = lock._my_lease()._timer
            assert timer is not None
            timer._until_s = 0.0

    cluster.after = takes_long
    with pytest.raises(LeaseLost, match="not renewed in time"):
        lock.check()
    assert not lock.is_held
    with pytest.raises(LeaseLost):
        lock.release()


def test_check_and_release_of_a_task_s_lock_that_was_broken_report_its_loss() -> None:
    async def work() -> None:
        cluster, lost = AioCluster(), asyncio.Event()
        first, second = cluster.lock(on_lost=lost.set), cluster.lock()
        await first.acquire()
        assert await first.check() == first.token
        await cluster.ask(CALLS.delete(HELD))
        token = await second.acquire(timeout=0)
        with pytest.raises(LeaseLost, match=f"^{HELD} no longer belongs to this program"):
            await first.check()
        assert not first.is_held
        assert await first.wait_lost()
        await lost.wait()
        with pytest.raises(LeaseLost):
            await first.release()
        with pytest.raises(RuntimeError, match="not held by this program"):
            await first.release()
        assert await second.check() == token
        await cluster.ask(CALLS.delete(HELD))
        with pytest.raises(LeaseLost, match=f"^{HELD} no longer belongs to this program"):
            await second.release()

    run(work)


def test_an_election_that_was_broken_reports_its_loss() -> None:
    cluster = Cluster()
    election = cluster.election()
    election.campaign("one")
    cluster.ask(CALLS.delete("election/service/held"))
    with pytest.raises(LeaseLost, match="election/service/held no longer belongs to this program"):
        election.check()
    with pytest.raises(LeaseLost):
        election.resign()


def test_a_lock_that_was_lost_can_be_acquired_again() -> None:
    cluster = Cluster()
    lock = cluster.lock()
    first = lock.acquire()
    assert first is not None
    lose(cluster)
    assert lock.wait_lost(0)
    assert not lock.is_held
    assert lock.token == first  # of what was lost
    cluster.model.expire(next(iter(cluster.model.store.leases.granted)))
    second = lock.acquire(timeout=0)
    assert second is not None
    assert second > first
    assert lock.check() == second
    lock.release()
    with pytest.raises(RuntimeError, match="not held by this program"):
        lock.release()


def test_a_thread_that_lost_a_lock_releases_nothing_of_the_next_one() -> None:
    cluster, threads = Cluster(), Threads()
    lock = cluster.lock()
    lost, others = threading.Event(), threading.Event()
    tokens: list[int] = []

    def loses() -> None:
        with lock as token:
            tokens.append(token)
            cluster.ask(CALLS.delete(HELD))
            lose(cluster)
            lost.set()
            assert others.wait(DEADLINE_S)
            assert not lock.is_held
            assert lock.token == tokens[0]
            with pytest.raises(LeaseLost):
                lock.check()

    def reports_it() -> None:
        with pytest.raises(LeaseLost):
            loses()

    loser = threads.begin(reports_it)
    assert lost.wait(DEADLINE_S)
    with lock as token:
        assert token > tokens[0]
        others.set()
        loser.join(DEADLINE_S)
        assert lock.check() == token
    threads.end()
    assert cluster.keys() == {}


def test_a_task_that_lost_a_lock_releases_nothing_of_the_next_one() -> None:
    async def work() -> None:
        cluster = AioCluster()
        lock = cluster.lock()
        lost, others = asyncio.Event(), asyncio.Event()

        async def loses() -> None:
            async with lock:
                await cluster.ask(CALLS.delete(HELD))
                with pytest.raises(LeaseLost):
                    await lock.check()
                lost.set()
                await others.wait()
                assert not lock.is_held

        loser = asyncio.ensure_future(loses())
        await lost.wait()
        async with lock as token:
            others.set()
            with pytest.raises(LeaseLost):
                await loser
            assert await lock.check() == token
        assert cluster.keys() == {}

    run(work)


def test_a_task_that_lost_a_lock_releases_nothing_of_the_next_one_by_a_shield() -> None:
    async def work() -> None:
        cluster = AioCluster()
        lock = cluster.lock()
        await lock.acquire()
        await cluster.ask(CALLS.delete(HELD))
        with pytest.raises(LeaseLost):
            await lock.check()

        async def next_one() -> None:
            async with lock as token:
                got.set()
                await over.wait()
                assert await lock.check() == token

        got, over = asyncio.Event(), asyncio.Event()
        other = asyncio.ensure_future(next_one())
        await got.wait()
        with pytest.raises(LeaseLost):
            await asyncio.shield(lock.release())
        over.set()
        await other
        assert cluster.keys() == {}

    run(work)


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_loss_is_given_back_by_another_thread_than_the_one_that_acquired(is_shared: bool) -> None:
    cluster, threads, tokens = Cluster(), Threads(), []
    lock = cluster.shared_lock() if is_shared else cluster.lock()
    pool = ThreadPoolExecutor(1)
    pool.submit(lock.acquire).result(DEADLINE_S)
    cluster.ask(CALLS.clear("lock/"))
    lose(cluster)
    held, over = threading.Event(), threading.Event()

    def next_one() -> None:
        tokens.append(lock.acquire())
        held.set()
        assert over.wait(DEADLINE_S)
        assert lock.check() == tokens[0]
        lock.release()

    threads.begin(next_one)
    assert held.wait(DEADLINE_S)
    assert not lock.is_held
    for use in (lock.check, lock.release):
        with pytest.raises(LeaseLost):
            use()
    over.set()
    threads.end()
    pool.shutdown()
    assert cluster.keys() == {}


def test_one_loss_is_given_back_once() -> None:
    cluster = Cluster()
    lock, pool = cluster.lock(), ThreadPoolExecutor(1)
    pool.submit(lock.acquire).result(DEADLINE_S)
    cluster.ask(CALLS.delete(HELD))
    lose(cluster)
    with ThreadPoolExecutor(1) as others:
        others.submit(lock.acquire).result(DEADLINE_S)
    with pytest.raises(LeaseLost):
        lock.release()
    lock.release()  # what the other one has: nobody else has anything
    pool.shutdown()
    assert cluster.keys() == {}


def test_the_task_that_calls_acquire_holds_it_and_not_the_one_that_awaits_it() -> None:
    async def by_another_task(work: Coroutine[Any, Any, Result]) -> Result:
        return await asyncio.ensure_future(work)  # as asyncio.wait_for before Python 3.12

    async def work() -> None:
        cluster = AioCluster()
        lock, got, over = cluster.lock(), asyncio.Event(), asyncio.Event()

        async def loses() -> None:
            await by_another_task(lock.acquire())
            await cluster.ask(CALLS.delete(HELD))
            lose(cluster)  # type: ignore[arg-type]
            await got.wait()
            assert not lock.is_held
            for use in (lock.check, lock.release):
                with pytest.raises(LeaseLost):
                    await by_another_task(use())
            over.set()

        async def next_one() -> None:
            token = await by_another_task(lock.acquire())
            got.set()
            await over.wait()
            assert lock.is_held
            assert await by_another_task(lock.check()) == token
            await by_another_task(lock.release())

        loser = asyncio.ensure_future(loses())
        await asyncio.sleep(0)
        await asyncio.gather(loser, next_one())
        assert cluster.keys() == {}

    run(work)


def test_a_task_that_lost_an_election_leads_again_without_a_release() -> None:
    async def work() -> None:
        cluster = AioCluster()
        election = cluster.election()
        for _ in range(3):
            await asyncio.wait_for(election.campaign("host1"), DEADLINE_S)
            assert election.is_held
            lose(cluster)  # type: ignore[arg-type]
            assert not election.is_held
            await cluster.ask(CALLS.clear("election/"))

    run(work)


def test_a_caller_in_line_has_its_turn_once_the_holder_has_lost_it() -> None:
    cluster, threads, got = Cluster(), Threads(), []
    lock = cluster.lock()
    lock.acquire()
    threads.begin(lambda: got.append(lock.acquire()))
    in_line(lock, 1)
    cluster.ask(CALLS.delete(HELD))
    with pytest.raises(LeaseLost):
        lock.check()
    threads.end()
    with pytest.raises(LeaseLost):
        lock.release()  # what this thread had
    assert got == [lock.token]
    assert lock.is_held


def test_what_is_not_held_has_no_token_and_nothing_to_wait_for() -> None:
    lock = Cluster().lock()
    for use in (lambda: lock.token, lock.wait_lost, lock.check, lock.release):
        with pytest.raises(RuntimeError, match="not held by this program"):
            use()
    lock.acquire()
    lock.release()
    with pytest.raises(RuntimeError, match="not held by this program"):
        lock.wait_lost()


def test_who_waits_for_a_loss_is_woken_by_a_release() -> None:
    cluster, threads, returned = Cluster(), Threads(), []
    lock = cluster.lock()
    lock.acquire()
    begun = threading.Event()

    def waits() -> None:
        held = lock._mine().lease
        assert held is not None
        begun.set()
        returned.append(held.wait_lost())

    threads.begin(waits)
    assert begun.wait(DEADLINE_S)
    lock.release()
    threads.end()
    assert returned == [False]


# --- what was never held ------------------------------------------------------------------------


def test_the_loss_of_a_lease_that_waits_is_no_loss_of_the_lock() -> None:
    cluster, threads, got, lost = Cluster(), Threads(), [], []
    other, lock = cluster.lock(), cluster.lock(on_lost=lambda: lost.append(1))
    other.acquire()
    threads.begin(lambda: got.append(lock.acquire()))
    waits_for(cluster, lambda: len(cluster.keys()) == 2)
    waiting = cluster.keeper.kept[-1]  # type: ignore[attr-defined]
    waiting.lose()
    with cluster.changed:
        cluster.model.expire(waiting.lease)
    other.release()  # it hears of it, and asks with another lease
    threads.end()
    assert got == [lock.token]
    assert lock.is_held
    assert lost == []


def test_the_loss_of_a_task_s_lease_that_waits_is_no_loss_of_the_lock() -> None:
    async def work() -> None:
        cluster, lost = AioCluster(), []
        other, lock = cluster.lock(), cluster.lock(on_lost=lambda: lost.append(1))
        await other.acquire()
        waits = asyncio.ensure_future(lock.acquire())
        while len(cluster.keys()) < 2:
            await asyncio.sleep(0)
        waiting = cluster.keeper.kept[-1]  # type: ignore[attr-defined]
        waiting.lose()
        cluster.model.expire(waiting.lease)
        await other.release()
        assert await waits == lock.token
        assert lock.is_held
        await asyncio.sleep(0)
        assert lost == []

    run(work)


def test_a_lock_that_was_got_too_late_is_given_back_and_asked_for_again() -> None:
    cluster, lost = Cluster(), []
    lock = cluster.lock(on_lost=lambda: lost.append(1))
    losses = iter([True])

    def after(command: str) -> None:
        if command.startswith("txn") and next(losses, False):
            lose(cluster)  # its time is over when the answer comes

    cluster.after = after
    token = lock.acquire()
    assert token == lock.check()
    assert lost == []


def test_one_try_whose_lease_is_over_before_it_is_known_gets_nothing() -> None:
    cluster, lost, now_s = Cluster(), [], [0.0]
    lock = cluster.lock(on_lost=lambda: lost.append(1))
    make = lock._make_lease
    lock._make_lease = lambda **more: make(now=lambda: now_s[0], **more)  # type: ignore[assignment]
    ways = iter([11.0, 11.0, 0.0])

    def after(command: str) -> None:
        if command.startswith("lease "):
            now_s[0] += next(ways)

    cluster.after = after
    assert lock.acquire(timeout=0) is None
    assert lock.acquire(timeout=DEADLINE_S) == lock.token
    assert lost == []


def test_one_try_looks_before_it_has_a_lease_granted() -> None:
    cluster = Cluster()
    first, second = cluster.election(), cluster.election()
    assert first.campaign("one", timeout=0) == first.token
    number, asked = cluster.model.store.number, len(cluster.asked)
    assert second.campaign("two", timeout=0) is None
    assert cluster.asked[asked:] == ["get election/service/held"]
    assert cluster.lock().acquire(timeout=0) is not None
    assert cluster.model.store.number > number


def test_a_failure_leaves_the_turn_to_the_next_caller() -> None:
    cluster = Cluster()
    lock = cluster.lock()

    def fails(command: str) -> None:
        raise Unreachable("nobody answers")

    cluster.before = fails
    for timeout in (0, None):
        with pytest.raises(Unreachable):
            lock.acquire(timeout=timeout)
    cluster.before = lambda command: None
    with lock:
        cluster.before = fails
        with pytest.raises(Unreachable):
            lock.release()
        cluster.before = lambda command: None
        with pytest.raises(RuntimeError):
            lock.release()
    cluster.ask(CALLS.delete(HELD))
    assert lock.acquire(timeout=0) is not None


@pytest.mark.parametrize("kind", ["lock", "shared_lock", "semaphore"])
def test_ctrl_c_as_a_thread_wins_leaves_nothing_held(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    cluster = Cluster()
    lock = cluster.semaphore(1) if kind == "semaphore" else getattr(cluster, kind)()
    callers = lock._callers
    wins = callers.mark_held

    def interrupted(*operands: Any) -> None:
        wins(*operands)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(callers, "mark_held", interrupted)
        with pytest.raises(KeyboardInterrupt):
            lock.acquire()
    assert cluster.keys() == {}
    assert lock.acquire(timeout=0) is not None


@pytest.mark.parametrize(
    "use",
    [
        lambda lock: lock.is_held,
        lambda lock: lock.acquire(timeout=0),
        lambda lock: lock.wait_lost(0.001),
        lambda lock: lock.check(),
        lambda lock: lock.release(),
    ],
)
def test_a_signal_handler_may_release_in_the_midst_of_any_use(use: Callable[[Any], object]) -> None:
    """Python runs it between any two lines of the main thread, which may hold any lock then."""

    def use_and_release(line: int) -> None:
        lock, left = Cluster().lock(), line
        lock.acquire()

        def trace(frame: Any, event: str, _: object) -> Any:
            nonlocal left
            if not frame.f_code.co_filename.endswith(OF_LOCKS):  # the cluster is another program
                return trace
            if event == "line" and not left:
                with contextlib.suppress(RuntimeError):
                    lock.release()
            left -= event == "line"
            return trace

        sys.settrace(trace)
        try:
            with contextlib.suppress(RuntimeError, LeaseLost):
                use(lock)
        finally:
            sys.settrace(None)
        is_through.append(left >= 0)

    is_through: list[bool] = [False]
    line = 0
    while not is_through[-1]:
        threads = Threads()
        threads.begin(partial(use_and_release, line))
        threads.end()
        line += 1


# --- nodes that hang ----------------------------------------------------------------------------

WAIT_S = 0.3


class HangingCluster(Cluster):
    """A cluster that answers no command with one of these beginnings, once it hangs."""

    timeout = 4.0
    hangs: tuple[str, ...] = ()

    def ask(self, call: Call[Result], timeout: float | None = None) -> Result:
        if call.command.startswith(self.hangs):
            time.sleep(self.timeout if timeout is None else timeout)
            raise Unreachable("no answer in time")
        return super().ask(call)


class HangingAioCluster(AioCluster):
    timeout = 4.0
    hangs: tuple[str, ...] = ()

    async def ask(self, call: Call[Result], timeout: float | None = None) -> Result:
        if call.command.startswith(self.hangs):
            await asyncio.sleep(self.timeout if timeout is None else timeout)
            raise Unreachable("no answer in time")
        return await super().ask(call)


def test_a_thread_s_wait_ends_in_time_where_no_node_answers() -> None:
    cluster = HangingCluster()
    cluster.hangs = ("lease ", "release ")
    begun_s = time.monotonic()
    with pytest.raises(Unreachable):
        cluster.lock().acquire(timeout=WAIT_S)
    assert WAIT_S <= time.monotonic() - begun_s < cluster.timeout / 2


def test_a_thread_s_wait_ends_in_time_where_nodes_answer_no_more() -> None:
    cluster = HangingCluster()
    cluster.hangs = ("txn", "release ")
    begun_s = time.monotonic()
    lock = cluster.lock()
    assert lock.acquire(timeout=WAIT_S) is None
    assert time.monotonic() - begun_s < cluster.timeout / 2
    cluster.hangs = ()
    assert lock.acquire(timeout=DEADLINE_S) == lock.token


def test_a_task_s_wait_ends_in_time_where_nodes_hang() -> None:
    async def work() -> None:
        cluster = HangingAioCluster()
        cluster.hangs = ("lease ", "release ")
        begun_s = time.monotonic()
        with pytest.raises(Unreachable):
            await cluster.lock().acquire(timeout=WAIT_S)
        assert time.monotonic() - begun_s < cluster.timeout / 2
        cluster.hangs = ("txn", "release ")
        begun_s = time.monotonic()
        assert await cluster.lock().acquire(timeout=WAIT_S) is None
        assert time.monotonic() - begun_s < cluster.timeout / 2

    run(work)


# --- the client is closed -----------------------------------------------------------------------


class ClosedWatch(Watch):
    """A watch whose client is closed while it waits."""

    def _step(self, until_s: float | None = None) -> bool:
        self.close()
        return False


class AioClosedWatch(AioWatch):
    async def _step(self, until_s: float | None = None) -> bool:
        self.close()
        return False


def test_a_thread_that_waits_as_its_client_is_closed_gets_no_token_but_an_error() -> None:
    cluster = Cluster()
    cluster.lock().acquire()
    cluster.election().campaign("first")
    cluster.watch = lambda prefix: ClosedWatch(cluster, prefix)  # type: ignore[method-assign]
    lock, election = cluster.lock(), cluster.election()
    for wait in (lock.acquire, lock.__enter__, lambda: election.campaign("second")):
        with pytest.raises(Closed, match=r"this client was closed, so .* was not acquired"):
            wait()
    assert not lock.is_held
    assert not election.is_held


def test_a_task_that_waits_as_its_client_is_closed_gets_no_token_but_an_error() -> None:
    async def work() -> None:
        cluster = AioCluster()
        await cluster.lock().acquire()
        cluster.watch = lambda prefix: AioClosedWatch(cluster, prefix)  # type: ignore[method-assign]
        lock = cluster.lock()
        for wait in (lock.acquire, lock.__aenter__):
            with pytest.raises(Closed, match="this client was closed, so nightly was not acquired"):
                await wait()
        assert not lock.is_held

    run(work)
