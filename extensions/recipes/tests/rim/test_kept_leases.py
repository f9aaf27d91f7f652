"""The one lease that a client keeps for its claims: what it costs, what its loss ends, and what is
taken back, at a cluster in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from raftline.clients.calls.calls import Call
from raftline.clients.calls.kv_errors import LeaseLost
from raftline.clients.connections.node_connection import OutcomeUnknown, Refused, Unreachable
from raftline.clients.leases.kept_leases import UNUSED_S, ClaimTimer, KeptLease
from raftline.clients.leases.lease import Keeper
from raftline.clients.leases.lease_timer import LeaseTimer, renewing
from raftline.clients.steps import carry_out
from raftline.recipes.locks.lock import Lock
from raftline.recipes.locks.lock_keys import LOCKS, LockKeys
from raftline.recipes.locks.recipe_calls import unhold
from raftline.recipes.tests.rim.lock_cluster import AioCluster, Cluster, NoKeeper

DEADLINE_S = 30.0


def verbs(cluster: Cluster | AioCluster) -> list[str]:
    return [asked.partition(" ")[0] for asked in cluster.asked]


def timers(cluster: Cluster) -> list[LeaseTimer]:
    keeper: Any = cluster.keeper
    renewed: list[LeaseTimer] = keeper.timers
    return renewed


def renew(cluster: Cluster, timer: LeaseTimer) -> None:
    """Renew a lease, as the thread of the client does."""
    carry_out(renewing(timer, lambda: timer.sent_s), lambda step: cluster.ask(step.call))


class Clock:
    """A clock of leases that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def lock(self, cluster: Cluster, name: str) -> Lock:
        lock = cluster.lock(name)
        make = lock._new_lease
        lock._new_lease = partial(make, now=lambda: self.now_s)
        return lock


def test_all_that_a_client_holds_is_under_one_lease() -> None:
    cluster = Cluster()
    with cluster.lock("a"), cluster.lock("b"), cluster.semaphore(2), cluster.shared_lock():
        assert len(cluster.model.store.leases.granted) == 1
    with cluster.lock("a"):
        pass
    assert verbs(cluster) == ["lease", *["hold"] * 4, *["unhold"] * 4, "hold", "unhold"]
    assert cluster.keys() == {}


def test_the_loss_of_the_lease_is_told_to_each_holder() -> None:
    cluster = Cluster()
    lost = [threading.Event() for _ in range(2)]
    held = [cluster.lock(str(n), on_lost=lost[n].set).acquire() for n in range(2)]
    own = cluster.lock("own", own_lease=True).acquire()
    released = cluster.lock("released", on_lost=pytest.fail).acquire()
    released.release()
    timers(cluster)[0].lose()
    for each, event in zip(held, lost, strict=True):
        assert event.wait(DEADLINE_S)
        assert each.wait_lost(0)
        assert not each.is_held
        with pytest.raises(LeaseLost):
            each.release()
    assert own.check() == own.token
    own.release()


def test_a_lock_with_a_lease_of_its_own_releases_that_lease() -> None:
    cluster = Cluster()
    with cluster.lock(own_lease=True) as first, cluster.lock("other", own_lease=True) as second:
        assert len(cluster.model.store.leases.granted) == 2
        assert second.token > first.token
    assert cluster.model.store.leases.granted == {}
    assert verbs(cluster) == ["lease", "hold", "lease", "hold", "release", "release"]


def test_what_is_acquired_has_two_thirds_of_its_time() -> None:
    cluster, clock = Cluster(), Clock()
    with clock.lock(cluster, "a"):
        clock.now_s += 3.0
        clock.lock(cluster, "b").acquire()
        clock.now_s += 0.5
        held = clock.lock(cluster, "c").acquire()
        assert held._lease.left == 10.0
    assert verbs(cluster) == ["lease", "hold", "hold", "renew", "hold", "unhold"]


def test_a_lease_that_ended_is_replaced() -> None:
    cluster, clock = Cluster(), Clock()
    first = clock.lock(cluster, "a").acquire()
    clock.now_s += 11.0
    second = clock.lock(cluster, "b").acquire()
    assert not first.is_held
    assert second.is_held
    cluster.model.expire(second._lease.id)  # and the client has not heard of it
    third = clock.lock(cluster, "c").acquire()
    assert third.is_held
    assert not second.is_held


@pytest.mark.parametrize("is_done", [True, False])
def test_a_claim_whose_request_got_no_answer_takes_nothing_later(is_done: bool) -> None:
    """A copy of its line may arrive after everything that the client sent."""
    cluster, claims = Cluster(), []

    def loses(command: str) -> None:
        if command.startswith("hold "):
            claims.append(command)
            raise OutcomeUnknown("no answer")

    setattr(cluster, "after" if is_done else "before", loses)
    with pytest.raises(OutcomeUnknown):
        cluster.lock().acquire()
    cluster.before = cluster.after = lambda command: None
    assert cluster.keys() == {}
    assert "abandoned" in cluster.ask(Call(claims[0], str))
    assert cluster.keys() == {}
    assert cluster.lock().acquire(timeout=0) is not None


def test_claim_with_a_copy_under_way_is_abandoned_at_its_end() -> None:
    """A claim that may have a copy under way is abandoned at its end."""
    cluster = Cluster()
    held = cluster.lock().acquire()
    claim = held._lease._timer
    assert isinstance(claim, ClaimTimer)
    claim.begin_request()  # which gets no answer
    claim.begin_request()
    claim.end_request()
    held.release()
    assert cluster.asked[-1] == "abandon lock/nightly/ lease-1/1"


@pytest.mark.parametrize("fails", ["unhold ", "abandon "])
def test_what_is_given_up_is_repeated_until_it_is_answered(fails: str) -> None:
    cluster = Cluster()
    held = cluster.lock().acquire()

    def loses(command: str) -> None:
        if command.startswith(("hold ", fails)):
            raise Unreachable("no answer")

    cluster.before = loses
    if fails == "unhold ":
        with pytest.raises(Unreachable):
            held.release()
    else:
        with pytest.raises(Unreachable):
            cluster.lock("other").acquire()
        held.release()
    kept = timers(cluster)[0]
    assert cluster.keeper.hurried == [kept]  # type: ignore[attr-defined]
    renew(cluster, kept)
    assert len(kept.unanswered()) == 1
    cluster.before = lambda command: None
    renew(cluster, kept)
    assert kept.unanswered() == []
    assert cluster.asked[-1].startswith(fails)
    assert cluster.keys() == {}


def test_a_request_that_is_refused_does_not_end_the_renewals() -> None:
    cluster = Cluster()
    kept, others = KeptLease("lease-1", 10, 0.0), KeptLease("lease-2", 10, 0.0)

    def answers(command: str) -> object:
        if command.startswith("unhold a/"):
            raise Refused("you may not write here")
        return True if command.startswith("renew ") else None

    for command in ("unhold a/ lease-1/1", "unhold b/ lease-1/2"):
        kept.expect_answer(command, again=True)
    for timer in (kept, others):
        carry_out(renewing(timer, lambda: 1.0), lambda step: answers(step.call.command))
        assert timer.until_s == 11.0
    assert kept.unanswered() == ["unhold a/ lease-1/1"]
    assert cluster.asked == []


def unhold_any(claim: str, is_in_doubt: bool) -> Call[int | None]:
    return unhold("a/", claim)


def test_a_lease_that_holds_nothing_for_a_minute_is_released() -> None:
    kept, asked = KeptLease("lease-1", 40, 0.0), []

    def at(now_s: float) -> None:
        carry_out(renewing(kept, lambda: now_s), answers)

    def answers(step: Any) -> bool:
        asked.append(step.call.command)
        return True

    claim = kept.new_claim(unhold_any, lambda over: None)
    assert claim is not None
    for now_s in (20.0, 40.0, 60.0, 80.0):
        at(now_s)
    claim.give_up()
    kept.drop(claim, 90.0)
    at(100.0)
    at(90.0 + UNUSED_S - 31)
    at(90.0 + UNUSED_S - 1)
    assert not kept.is_over
    at(90.0 + UNUSED_S)
    assert kept.is_over
    assert not kept.was_lost
    assert asked == [*["renew lease-1"] * 7, "release lease-1"]
    assert kept.new_claim(unhold_any, lambda over: None) is None


def test_a_client_that_closes_ends_a_lease_that_holds_nothing() -> None:
    for is_held in (False, True):
        cluster = Cluster()
        cluster.keeper = Keeper(cluster, "program")
        held = cluster.lock().acquire()
        if not is_held:
            held.release()
        cluster.close()
        assert len(cluster.model.store.leases.granted) == is_held


def test_a_forked_child_keeps_a_lease_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    with cluster.lock("a") as held:
        with monkeypatch.context() as child:
            child.setattr("os.getpid", lambda: -1)
            with cluster.lock("b"):
                assert len(cluster.model.store.leases.granted) == 2
        assert held.check() == held.token


# --- a release that is not awaited --------------------------------------------------------------


def test_unawaited_release_is_repeated_without_an_answer() -> None:
    """A release that is not awaited is repeated if it gets no answer."""
    cluster = Cluster()
    keeper: Any = cluster.keeper
    held = cluster.lock(wait_release=False).acquire()
    held.release()
    assert not held.is_held
    [(command, settled)] = cluster.sent_off
    assert command == f"unhold {LockKeys(LOCKS, 'nightly').prefix} lease-1/1"
    [kept] = timers(cluster)
    assert kept.unanswered() == []  # its answer may still arrive
    for text in (None, "Sorry, I am not the leader. Last leader I heard from is: s1 (a:1)"):
        settled(text)
        assert kept.unanswered() == [command]
    assert keeper.hurried == [kept, kept]
    settled("UNHOLD response: lock/nightly/held/alone/lease-1/1")
    assert kept.unanswered() == []
    with pytest.raises(RuntimeError, match="released already"):
        held.release()


@pytest.mark.parametrize("options", [{}, {"own_lease": True}])
def test_a_release_is_awaited_where_no_connection_is_there(options: Any) -> None:
    cluster = Cluster()
    cluster.is_disconnected = True
    with cluster.lock(wait_release=False, **options):
        assert len(cluster.keys()) == 1
    assert cluster.keys() == {}
    assert cluster.sent_off == []


def test_a_task_s_release_that_is_not_awaited_is_sent_off() -> None:
    async def work() -> None:
        cluster = AioCluster()
        lock = cluster.lock()
        lock._waits_for_release = False
        async with lock:
            pass
        [(command, _)] = cluster.sent_off
        assert command.startswith("unhold ")

    asyncio.run(asyncio.wait_for(work(), DEADLINE_S))


def test_another_client_is_given_what_the_first_leaves() -> None:
    """The same entry that ends one hold begins the next."""
    cluster = Cluster()
    first = cluster.lock().acquire()
    cluster.keeper = NoKeeper()  # of another client
    got: list[Any] = []
    waits = threading.Thread(target=lambda: got.append(cluster.lock().acquire()))
    waits.start()
    waits_for: Callable[[], bool] = lambda: len(cluster.keys()) == 2  # noqa: E731
    with cluster.changed:
        assert cluster.changed.wait_for(waits_for, DEADLINE_S)
    first.release()
    waits.join(DEADLINE_S)
    assert got[0].token == cluster.model.store.number
    assert verbs(cluster) == ["lease", "hold", "lease", "hold", "unhold"]
