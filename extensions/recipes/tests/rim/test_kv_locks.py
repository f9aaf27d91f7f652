"""One lock or election object that many threads or tasks use, at a cluster in memory."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import threading
import time
import warnings
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import pytest

from raftline.clients.calls.calls import CALLS, Call
from raftline.clients.calls.kv_errors import LeaseLost, TooManyWatches
from raftline.clients.connections.node_connection import (
    ClientError,
    Closed,
    LoginFailed,
    NoLeader,
    OutcomeUnknown,
    Refused,
    Unreachable,
)
from raftline.clients.leases.lease import Lease
from raftline.recipes.locks import claims
from raftline.recipes.locks.held import WithBlocks
from raftline.recipes.tests.rim.lock_cluster import (
    AioCluster,
    AioWatch,
    Cluster,
    NoAioKeeper,
    NoKeeper,
    Store,
    Watch,
)
from raftline_testing.nodes.processes import aio_eventually

DEADLINE_S = 30.0
OF_LOCKS = (
    "/threading.py",
    "/wakeup.py",
    "/steps.py",
    *(f"/locks/{name}.py" for name in ("lock", "claims", "held", "lease", "lease_timer")),
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


def lose(cluster: Cluster) -> None:
    cluster.keeper.timers[-1].lose()  # type: ignore[attr-defined]


def looks(cluster: Store) -> list[str]:
    """Return the requests that look for a seat."""
    return [asked for asked in cluster.asked if asked.startswith("show lock/nightly/held/")]


# --- one object, many callers -------------------------------------------------------------------


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
    held, threads, got = first.acquire(), Threads(), []
    threads.begin(lambda: got.append(second.acquire()))
    waits_for(cluster, lambda: len(looks(cluster)) >= 3)
    held.release()
    threads.end()
    assert got[0].is_held


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
        second._watching = lambda prefix: Refusing(cluster, prefix)  # type: ignore[assignment,return-value]
        held = await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        await aio_eventually(lambda: len(looks(cluster)) >= 3)
        await held.release()
        assert (await waiting).is_held

    run(work)


def test_threads_that_share_an_election_lead_one_after_the_other() -> None:
    cluster, threads = Cluster(), Threads()
    election = cluster.election()
    leaders: list[str | None] = []

    def work(name: str) -> None:
        with election.campaign(name):
            leaders.append(election.leader())

    for number in range(6):
        threads.begin(partial(work, f"program {number}"))
    threads.end()
    assert sorted(map(str, leaders)) == [f"program {number}" for number in range(6)]
    assert cluster.keys() == {}


def test_a_task_waits_within_its_own_time() -> None:
    async def work() -> None:
        lock = AioCluster().lock()
        async with lock:
            assert await lock.acquire(timeout=0.01) is None
            late = asyncio.ensure_future(lock.acquire(timeout=DEADLINE_S))
            await asyncio.sleep(0)
        assert await late is not None

    run(work)


def test_what_is_held_belongs_to_no_thread() -> None:
    cluster, threads = Cluster(), Threads()
    held = cluster.lock().acquire()
    threads.begin(held.check)
    threads.end()
    threads.begin(held.release)
    threads.end()
    assert not held.is_held
    assert cluster.keys() == {}
    with pytest.raises(RuntimeError, match="released already"):
        held.release()
    with pytest.raises(LeaseLost):
        held.check()


def test_overlapping_with_blocks_end_what_they_began() -> None:
    """A `with` ends what it began, also where blocks of one object overlap."""
    blocks: WithBlocks[Any] = WithBlocks()
    for where, held in ((1, "a"), (1, "b"), (2, "c")):
        assert blocks.begin(where, held) == held
    assert [blocks.end(1), blocks.end(2)] == ["b", "c"]
    assert blocks.end(3) == "a"  # a generator that ends in another thread
    for where in (1, 2):
        blocks.begin(where, "held")
    with pytest.raises(RuntimeError, match="began in another thread or task"):
        blocks.end(3)


def test_a_with_may_be_released_by_hand() -> None:
    cluster = Cluster()
    with cluster.lock() as held:
        held.release()
    with cluster.lock().acquire() as held:
        assert held.is_held
    assert cluster.keys() == {}


# --- what is held no more -----------------------------------------------------------------------


def test_check_and_release_of_a_broken_lock_report_its_loss() -> None:
    """`check` and `release` of a lock that was broken report its loss."""
    cluster, lost = Cluster(), threading.Event()
    first, second = cluster.lock(on_lost=lost.set), cluster.lock()
    mine = first.acquire()
    assert mine.check() == mine.token
    cluster.ask(CALLS.delete(mine._key))
    others = second.acquire()
    assert others.check() == others.token > mine.token
    assert mine.is_held  # as far as it knows
    with pytest.raises(LeaseLost, match=f"^{mine._key} no longer belongs to this program"):
        mine.check()
    assert not mine.is_held
    assert mine.wait_lost(0)
    assert lost.wait(DEADLINE_S)
    for use in (mine.check, mine.release):
        with pytest.raises(LeaseLost):
            use()
    with pytest.raises(RuntimeError, match="released already"):
        mine.release()
    assert others.check() == others.token
    others.release()
    again = second.acquire()
    cluster.ask(CALLS.set(again._key, "by hand"))
    with pytest.raises(LeaseLost, match=f"^{again._key} no longer belongs to this program"):
        again.check()
    assert not again.is_held


def test_a_lock_whose_time_ends_amid_a_check_is_not_confirmed() -> None:
    cluster = Cluster()
    held = cluster.lock().acquire()

    def takes_long(command: str) -> None:
        if command.startswith("stat "):
            timer = held._lease._granted().timer
            timer.sent_s = -timer.seconds

    cluster.after = takes_long
    with pytest.raises(LeaseLost, match="not renewed in time"):
        held.check()
    assert not held.is_held
    with pytest.raises(LeaseLost):
        held.release()


def test_check_and_release_report_a_broken_lock_to_tasks() -> None:
    """`check` and `release` of a task's lock that was broken report its loss."""

    async def work() -> None:
        cluster, lost = AioCluster(), asyncio.Event()
        first, second = cluster.lock(on_lost=lost.set), cluster.lock()
        mine = await first.acquire()
        assert await mine.check() == mine.token
        await cluster.ask(CALLS.delete(mine._key))
        others = await second.acquire()
        with pytest.raises(LeaseLost, match=f"^{mine._key} no longer belongs to this program"):
            await mine.check()
        assert not mine.is_held
        assert await mine.wait_lost()
        await lost.wait()
        with pytest.raises(LeaseLost):
            await mine.release()
        with pytest.raises(RuntimeError, match="released already"):
            await mine.release()
        assert await others.check() == others.token
        await cluster.ask(CALLS.delete(others._key))
        with pytest.raises(LeaseLost):
            await others.release()

    run(work)


def test_an_election_that_was_broken_reports_its_loss() -> None:
    cluster = Cluster()
    held = cluster.election().campaign("one")
    cluster.ask(CALLS.clear("election/service/"))
    with pytest.raises(LeaseLost, match=r"election/service/held/.* no longer belongs to this"):
        held.check()
    with pytest.raises(LeaseLost):
        held.release()


def test_a_lock_that_was_lost_can_be_acquired_again() -> None:
    cluster = Cluster()
    lock = cluster.lock()
    first = lock.acquire()
    lose(cluster)
    cluster.model.expire(next(iter(cluster.model.store.leases.granted)))
    with lock as second:
        assert second.token > first.token
        assert second.check() == second.token
        assert not first.is_held
        with pytest.raises(LeaseLost):
            first.release()
        assert second.check() == second.token


def test_thread_that_lost_a_lock_spares_the_next_one() -> None:
    """A thread that lost a lock releases nothing of the next one."""
    cluster, threads = Cluster(), Threads()
    lock = cluster.lock()
    lost, others = threading.Event(), threading.Event()
    tokens: list[int] = []

    def loses() -> None:
        with lock as held:
            tokens.append(held.token)
            cluster.ask(CALLS.delete(held._key))
            lose(cluster)
            lost.set()
            assert others.wait(DEADLINE_S)
            assert not held.is_held

    def reports_it() -> None:
        with pytest.raises(LeaseLost):
            loses()

    loser = threads.begin(reports_it)
    assert lost.wait(DEADLINE_S)
    with lock as held:
        assert held.token > tokens[0]
        others.set()
        loser.join(DEADLINE_S)
        assert held.check() == held.token
    threads.end()
    assert cluster.keys() == {}


def test_task_that_lost_a_lock_spares_the_next_one() -> None:
    """A task that lost a lock releases nothing of the next one."""

    async def work() -> None:
        cluster = AioCluster()
        lock = cluster.lock()
        lost, others = asyncio.Event(), asyncio.Event()

        async def loses() -> None:
            async with lock as held:
                await cluster.ask(CALLS.delete(held._key))
                with pytest.raises(LeaseLost):
                    await held.check()
                lost.set()
                await others.wait()
                assert not held.is_held

        loser = asyncio.ensure_future(loses())
        await lost.wait()
        async with lock as held:
            others.set()
            with pytest.raises(LeaseLost):
                await loser
            assert await held.check() == held.token
        assert cluster.keys() == {}

    run(work)


def test_who_waits_for_a_loss_is_woken_by_a_release() -> None:
    threads, returned, begun = Threads(), [], threading.Event()
    held = Cluster().lock().acquire()

    def waits() -> None:
        begun.set()
        returned.append(held.wait_lost())

    threads.begin(waits)
    assert begun.wait(DEADLINE_S)
    held.release()
    threads.end()
    assert returned == [False]


# --- what was never held ------------------------------------------------------------------------


def test_loss_of_a_lease_that_waits_is_not_a_loss_of_the_lock() -> None:
    cluster, threads, got, lost = Cluster(), Threads(), [], []
    held = cluster.lock().acquire()
    cluster.keeper = NoKeeper()  # of another client
    lock = cluster.lock(on_lost=lambda: lost.append(1))
    threads.begin(lambda: got.append(lock.acquire()))
    waits_for(cluster, lambda: len(cluster.keys()) == 2)
    waiting = cluster.keeper.timers[-1]
    with cluster.changed:
        cluster.model.expire(waiting.lease)
    lose(cluster)
    held.release()  # it claims the lock under another lease
    threads.end()
    assert got[0].is_held
    assert lost == []


def test_loss_of_a_waiting_tasks_lease_is_not_a_loss_of_the_lock() -> None:
    """The loss of a task's lease that waits is not a loss of the lock."""

    async def work() -> None:
        cluster, lost = AioCluster(), []
        held = await cluster.lock().acquire()
        cluster.keeper = keeper = NoAioKeeper()  # of another client
        lock = cluster.lock(on_lost=lambda: lost.append(1))
        waits = asyncio.ensure_future(lock.acquire())
        await aio_eventually(lambda: len(cluster.keys()) >= 2)
        waiting = keeper.timers[-1]
        cluster.model.expire(waiting.lease)
        waiting.lose()
        await held.release()
        assert (await waits).is_held
        await asyncio.sleep(0)
        assert lost == []

    run(work)


def test_lock_got_too_late_is_returned_and_asked_for_again() -> None:
    """A lock that was got too late is given back and asked for again."""
    cluster, lost = Cluster(), []
    lock = cluster.lock(on_lost=lambda: lost.append(1))
    losses = iter([True])

    def after(command: str) -> None:
        if command.startswith("hold ") and next(losses, False):
            lose(cluster)  # its time is over when the answer comes

    cluster.after = after
    held = lock.acquire()
    assert held.check() == held.token
    assert lost == []


def test_single_try_with_an_ended_lease_gets_nothing() -> None:
    """A single try whose lease is over before it is known gets nothing."""
    cluster, lost, now_s = Cluster(), [], [0.0]
    lock = cluster.lock(on_lost=lambda: lost.append(1))
    lock._new_lease = partial(lock._new_lease, now=lambda: now_s[0])
    ways = iter([11.0, 11.0, 0.0])

    def after(command: str) -> None:
        if command.startswith("lease "):
            now_s[0] += next(ways)

    cluster.after = after
    assert lock.acquire(timeout=0) is None
    assert lock.acquire(timeout=DEADLINE_S) is not None
    assert lost == []


def test_one_try_looks_before_it_has_a_lease_granted() -> None:
    cluster = Cluster()
    first, second = cluster.election(), cluster.election()
    assert first.campaign("one", timeout=0) is not None
    number, asked = cluster.model.store.number, len(cluster.asked)
    assert second.campaign("two", timeout=0) is None
    assert cluster.asked[asked:] == ["show election/service/held/"]
    assert cluster.lock().acquire(timeout=0) is not None
    assert cluster.model.store.number > number


def test_a_failure_leaves_the_lock_to_the_next_caller() -> None:
    cluster = Cluster()
    lock = cluster.lock()

    def fails(command: str) -> None:
        raise Unreachable("nobody answers")

    cluster.before = fails
    for timeout in (0, None):
        with pytest.raises(Unreachable):
            lock.acquire(timeout=timeout)
    cluster.before = lambda command: None
    with lock as held:
        cluster.before = fails
        with pytest.raises(Unreachable):
            held.release()
        cluster.before = lambda command: None
        with pytest.raises(RuntimeError):
            held.release()
    for timer in cluster.keeper.hurried:  # type: ignore[attr-defined]
        for command in timer.unanswered():
            cluster.ask(Call(command, str))
    assert lock.acquire(timeout=0) is not None


@pytest.mark.parametrize("error", [Unreachable, NoLeader, OutcomeUnknown])
@pytest.mark.parametrize("verb", ["lease", "hold"])
@pytest.mark.parametrize("point", ["before", "after"])
def test_a_wait_without_a_limit_claims_again_after_an_outage(
    monkeypatch: pytest.MonkeyPatch, error: type[ClientError], verb: str, point: str
) -> None:
    """The request that failed may have been done."""
    monkeypatch.setattr(claims, "LONGEST_PAUSE_S", 0.0)
    cluster, left = Cluster(), [3]

    def fails(command: str) -> None:
        if command.startswith(verb) and left[0]:
            left[0] -= 1
            raise error("no answer")

    setattr(cluster, point, fails)
    cluster.was_served = True
    held = cluster.lock().acquire()
    assert left == [0]
    assert held.check() == held.token
    held.release()
    assert cluster.keys() == {}


def lasting() -> Unreachable:
    error = Unreachable("the certificate has expired")
    error.lasts = True
    return error


@pytest.mark.parametrize(
    "error", [Closed("closed"), lasting(), LoginFailed("wrong"), Refused("no room")]
)
def test_an_error_that_lasts_ends_a_wait_without_a_limit(error: ClientError) -> None:
    cluster = Cluster()
    cluster.was_served = True

    def fails(command: str) -> None:
        raise error

    cluster.before = fails
    with pytest.raises(type(error)):
        cluster.lock().acquire()


@pytest.mark.parametrize("kind", ["lock", "shared_lock", "semaphore"])
def test_ctrl_c_as_a_thread_wins_leaves_nothing_held(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    cluster = Cluster()
    lock = cluster.semaphore(1) if kind == "semaphore" else getattr(cluster, kind)()
    begins = Lease._begin_holding

    def interrupted(*operands: Any) -> None:
        begins(*operands)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Lease, "_begin_holding", interrupted)
        with pytest.raises(KeyboardInterrupt):
            lock.acquire()
    assert cluster.keys() == {}
    assert lock.acquire(timeout=0) is not None


@pytest.mark.parametrize(
    "use",
    [
        lambda lock, held: held.is_held,
        lambda lock, held: lock.acquire(timeout=0),
        lambda lock, held: held.wait_lost(0.001),
        lambda lock, held: held.check(),
        lambda lock, held: held.release(),
    ],
)
def test_a_signal_handler_may_release_in_the_midst_of_any_use(
    use: Callable[[Any, Any], object],
) -> None:
    """Python runs it between any two lines of the main thread, which may hold any lock then."""

    def use_and_release(line: int) -> None:
        lock, left = Cluster().lock(), line
        held = lock.acquire()

        def trace(frame: Any, event: str, _: object) -> Any:
            nonlocal left
            if not frame.f_code.co_filename.endswith(OF_LOCKS):  # the cluster is another program
                return trace
            if event == "line" and not left:
                with contextlib.suppress(RuntimeError, LeaseLost):
                    held.release()
            left -= event == "line"
            return trace

        sys.settrace(trace)
        try:
            with contextlib.suppress(RuntimeError, LeaseLost):
                use(lock, held)
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
    cluster.hangs = ("hold ", "abandon ")
    begun_s = time.monotonic()
    lock = cluster.lock()
    assert lock.acquire(timeout=WAIT_S) is None
    assert time.monotonic() - begun_s < cluster.timeout / 2
    cluster.hangs = ()
    assert lock.acquire(timeout=DEADLINE_S) is not None


def test_a_task_s_wait_ends_in_time_where_nodes_hang() -> None:
    async def work() -> None:
        cluster = HangingAioCluster()
        cluster.hangs = ("lease ", "release ")
        begun_s = time.monotonic()
        with pytest.raises(Unreachable):
            await cluster.lock().acquire(timeout=WAIT_S)
        assert time.monotonic() - begun_s < cluster.timeout / 2
        cluster.hangs = ("hold ", "abandon ")
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


def test_thread_waiting_at_close_gets_an_error_not_a_token() -> None:
    """A thread that waits as its client is closed gets no token but an error."""
    cluster = Cluster()
    cluster.lock().acquire()
    cluster.election().campaign("first")
    cluster.watch = lambda prefix: ClosedWatch(cluster, prefix)  # type: ignore[method-assign]
    lock, election = cluster.lock(), cluster.election()
    for wait in (lock.acquire, lock.__enter__, lambda: election.campaign("second")):
        with pytest.raises(Closed, match=r"this client was closed, so .* was not acquired"):
            wait()


def test_task_waiting_at_close_gets_an_error_not_a_token() -> None:
    """A task that waits as its client is closed gets no token but an error."""

    async def work() -> None:
        cluster = AioCluster()
        await cluster.lock().acquire()
        cluster.watch = lambda prefix: AioClosedWatch(cluster, prefix)  # type: ignore[method-assign]
        lock = cluster.lock()
        for wait in (lock.acquire, lock.__aenter__):
            with pytest.raises(Closed, match="this client was closed, so nightly was not acquired"):
                await wait()

    run(work)


def dropped(take: Callable[[], object]) -> list[str]:
    """Return the warnings of a drop once nothing refers to a result any more."""
    gc.collect()  # what earlier tests have dropped
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        take()
        gc.collect()
    said = [str(each.message) for each in seen if each.category is ResourceWarning]
    return [each for each in said if "was dropped" in each]  # not of files of earlier tests


@pytest.mark.parametrize("kind", ["lock", "shared_lock", "semaphore", "election"])
def test_warning_names_a_lock_that_was_dropped_and_is_held(kind: str) -> None:
    """Nothing can release it any more. One that was released or lost needs no release."""
    cluster = Cluster()

    def made(of: Any) -> Any:
        lock = of.semaphore(1) if kind == "semaphore" else getattr(of, kind)()
        return partial(lock.campaign, "one") if kind == "election" else lock.acquire

    def released() -> None:
        with made(cluster)():
            pass

    async def in_task() -> None:
        assert await made(AioCluster())()

    def lost() -> None:
        held = made(Cluster())()
        held._lease._lose()

    assert dropped(released) == []
    assert dropped(lost) == []
    for take in (made(cluster), lambda: run(in_task)):
        [said] = dropped(take)
        assert "was dropped without a release" in said
