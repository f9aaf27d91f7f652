"""Shared locks and semaphores in any order of their requests: one holder alone or many that share,
never more than the limit, nobody waits for ever, and nothing is left."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import pytest

from raftline.clients.calls.calls import CALLS, Ask
from raftline.clients.calls.kv_errors import LeaseLost
from raftline.clients.locks.claims import BaseClaim, LetGo, Look
from raftline.clients.locks.contest import (
    ELECTIONS,
    LOCKS,
    MARK,
    LockKeys,
    SharedKeys,
    Slots,
)
from raftline.clients.locks.held import BaseHeld
from raftline.clients.locks.lease_timer import BaseLease, LeaseTimer
from raftline.clients.requests.node_connection import ClientError, Unreachable
from raftline.clients.watches.watch_events import Event
from tests.rim.objects.lock_cluster import Cluster, Followed, Store

ALONE = LockKeys(LOCKS, "nightly")
SHARED = SharedKeys("nightly")
Steps = Generator[None, None, Any]
Kind = TypeVar("Kind")


class EarlierKeys(LockKeys):
    """A lock as programs of a version without shared locks know it."""

    def __init__(self, name: str) -> None:
        super().__init__(LOCKS, name)
        self._may_be_shared = False


EARLIER = EarlierKeys("nightly")


class _Keeper:
    def __init__(self) -> None:
        self.leaving: set[str] = set()

    def keep(self, timer: LeaseTimer) -> None:
        """Leases end by order of the test."""

    def drop(self, timer: LeaseTimer) -> None: ...


class _Over:
    def set(self) -> None: ...


class Lease(BaseLease[_Over]):
    def __init__(self, *operands: Any) -> None:
        super().__init__(*operands, now=lambda: 0.0)  # type: ignore[misc]

    def _new_event(self) -> _Over:
        return _Over()


class Watch(Followed):
    def close(self) -> None: ...


class Claim(BaseClaim[Lease, BaseHeld[Lease]]):
    """A program's lock or semaphore, one step at a time."""

    _lease_class = Lease
    _held_class = BaseHeld  # type: ignore[assignment]
    held: BaseHeld[Lease]

    def __init__(self, store: Store, keys: LockKeys, name: str = "a program") -> None:
        self.store = store
        self._name = name
        self.leases: list[str] = []
        super().__init__(store, _Keeper(), partial(Watch, store), keys, 10)

    def _now(self) -> float:
        return 0.0

    @property
    def key(self) -> str:
        return self.held._contest.key

    @property
    def token(self) -> int:
        return self.held.token

    def gets(self, timeout_s: float | None = None) -> Steps:
        """Return the token; None if the time is over first."""
        held = yield from self._carry_out(self._acquiring(self._name, timeout_s, -1))
        if held is None:
            return None
        self.held = held
        return held.token

    def gives(self) -> Steps:
        return self._carry_out(self.held._releasing())

    def checks(self) -> Steps:
        return self._carry_out(self.held._checking())

    def names(self) -> Steps:
        """Return the names of those who hold it."""
        return self._carry_out(self._holders())

    @property
    def contested(self) -> LockKeys:
        return self._keys

    def _carry_out(self, steps: Generator[Any, Any, Any]) -> Steps:
        """Do one step after each `yield`."""
        do: Callable[[], Any] = partial(next, steps)
        while True:
            try:
                step = do()
            except StopIteration as end:
                return end.value
            try:
                yield
            except GeneratorExit as died:  # it goes no further
                cut_off(steps, died)
                return None
            if isinstance(step, Look):
                do = partial(steps.send, True) if step.watch.takes() else partial(_again, step)
            elif isinstance(step, LetGo):
                yield from self._carry_out(step.steps)
                do = partial(steps.send, None)
            else:
                assert isinstance(step, Ask)
                try:
                    answer = self.store.carry_out(step.call)
                    if step.call.command.startswith("lease "):
                        self.leases.append(answer)
                    do = partial(steps.send, answer)
                except ClientError as error:
                    do = partial(steps.throw, error)


def _again(step: Kind) -> Kind:
    return step


def cut_off(steps: Generator[Any, Any, Any], died: BaseException) -> None:
    """Let each further request fail."""
    with suppress(StopIteration, GeneratorExit, ClientError):
        steps.throw(died)
        while True:
            steps.throw(Unreachable("it died"))


def at_once(steps: Steps) -> Any:
    """Take all steps."""
    for _ in range(1000):
        try:
            next(steps)
        except StopIteration as end:
            return end.value
    raise AssertionError("it waits for ever")


def goes_on(steps: Steps, count: int = 30) -> None:
    """Take some steps of what waits."""
    for _ in range(count):
        next(steps)


def expire(store: Store, lease: str) -> None:
    """Let a lease run out."""
    store.model.expire(lease)
    store.take_events()


class World:
    """Programs that want one lock or one semaphore, in a random order of their steps."""

    def __init__(self, seed: int, kinds: list[LockKeys], limit: int = 1) -> None:
        self.chance = random.Random(seed)
        self.store = Store()
        self.limit = limit
        self.holders: dict[Claim, int] = {}
        self.highest = self.highest_alone = 0
        self.most = self.losses = 0
        claims = [Claim(self.store, keys, f"p{number}") for number, keys in enumerate(kinds)]
        self.running: dict[Claim, Iterator[None]] = {each: self.lives(each) for each in claims}

    def run(self) -> None:
        for _ in range(20_000):
            if not self.running:
                return
            claim = self.chance.choice(list(self.running))
            if self.chance.random() < 0.003:
                self.running[claim] = self.dies(claim)
            elif self.chance.random() < 0.003:
                self.expires(claim)
            elif next(self.running[claim], "ended") == "ended":
                del self.running[claim]
        raise AssertionError(f"{list(self.running)} wait for ever: {self.store.keys()}")

    def lives(self, claim: Claim) -> Iterator[None]:
        for _ in range(self.chance.choice((1, 1, 2))):
            token = yield from claim.gets()
            self.won(claim, token)
            for _ in range(self.chance.randrange(8)):
                yield
            try:
                assert (yield from claim.checks()) == token
                self.holders.pop(claim, None)
                yield from claim.gives()
            except LeaseLost:
                assert claim not in self.holders
                self.losses += 1

    def won(self, claim: Claim, token: int) -> None:
        others = [each.contested for each in self.holders]
        if claim.contested is SHARED:
            assert set(others) <= {SHARED}, "it is held by one alone"
            assert token > self.highest_alone
        else:
            assert len(others) < self.limit, "too many hold it"
            assert token > self.highest
            self.highest_alone = token
        self.highest = max(self.highest, token)
        self.holders[claim] = token
        self.most = max(self.most, len(self.holders))

    def dies(self, claim: Claim) -> Iterator[None]:
        for _ in range(self.chance.randrange(20)):
            yield
        self.expires(claim)

    def expires(self, claim: Claim) -> None:
        self.holders.pop(claim, None)
        for lease in claim.leases:
            expire(self.store, lease)


def is_left(store: Store) -> dict[str, str]:
    """Return the keys that are there once another program had the lock for a moment."""
    last = Claim(store, ALONE)
    assert at_once(last.gets(0.0)) is not None
    at_once(last.gives())
    return store.keys()


@pytest.mark.parametrize("seed", range(100))
def test_one_holds_a_lock_alone_or_many_share_it(seed: int) -> None:
    world = World(seed, [SHARED, ALONE, SHARED, EARLIER, SHARED, ALONE, SHARED])
    world.run()
    assert is_left(world.store) == {}


@pytest.mark.parametrize("seed", range(50))
def test_a_semaphore_has_no_more_holders_than_its_limit(seed: int) -> None:
    world = World(seed, [Slots("reports", 3)] * 7, limit=3)
    world.run()
    assert world.store.keys() == {}


def test_that_many_do_share_a_lock_or_a_semaphore() -> None:
    worlds = [World(seed, [SHARED] * 4) for seed in range(20)]
    slots = [World(seed, [Slots("reports", 3)] * 5, limit=3) for seed in range(20)]
    for world in worlds + slots:
        world.run()
    assert max(world.most for world in worlds) == 4
    assert max(world.most for world in slots) == 3


def test_who_waits_to_hold_it_alone_is_not_passed_by_new_shared_holders() -> None:
    store = Store()
    first, writer, late = (Claim(store, keys) for keys in (SHARED, ALONE, SHARED))
    at_once(first.gets())
    waiting = writer.gets()
    goes_on(waiting)
    late_waiting = late.gets()
    goes_on(late_waiting)
    assert at_once(Claim(store, SHARED).gets(0.0)) is None
    at_once(first.gives())
    alone = at_once(waiting)
    goes_on(late_waiting)
    assert store.keys()[ALONE.next] == late.leases[-1]
    at_once(writer.gives())
    assert at_once(late_waiting) > alone
    at_once(late.gives())
    assert store.keys() == {}


def test_an_earlier_program_waits_for_all_shared_holders_to_go() -> None:
    store = Store()
    one, two, earlier = (Claim(store, keys) for keys in (SHARED, SHARED, EARLIER))
    at_once(one.gets())
    at_once(two.gets())
    waiting = earlier.gets()
    goes_on(waiting)
    at_once(one.gives())
    goes_on(waiting)
    assert at_once(Claim(store, EARLIER).gets(0.0)) is None
    at_once(two.gives())
    assert at_once(waiting) == earlier.token


@pytest.mark.parametrize("keys", [ALONE, SHARED])
def test_who_waits_behind_an_earlier_program_deletes_the_mark_of_dead_holders(
    keys: LockKeys,
) -> None:
    store = Store()
    dead, earlier, behind = (Claim(store, each) for each in (SHARED, EARLIER, keys))
    at_once(dead.gets())
    waiting, waiting_behind = earlier.gets(), behind.gets()
    goes_on(waiting)
    goes_on(waiting_behind)
    expire(store, dead.leases[0])
    goes_on(waiting)
    assert store.keys()[ALONE.held].startswith(MARK)
    goes_on(waiting_behind)
    assert at_once(waiting) == earlier.token
    at_once(earlier.gives())
    assert at_once(waiting_behind) == behind.token


def test_one_try_looks_whether_the_shared_holders_are_alive() -> None:
    store = Store()
    one, two = Claim(store, SHARED), Claim(store, SHARED)
    at_once(one.gets())
    at_once(two.gets())
    expire(store, one.leases[0])
    asked = len(store.asked)
    writer = Claim(store, ALONE)
    assert at_once(writer.gets(0.0)) is None
    assert [each.split()[0] for each in store.asked[asked:]] == ["get", "stat", "show"]
    expire(store, two.leases[0])
    assert at_once(writer.gets(0.0)) == writer.token


def test_a_mark_is_not_deleted_under_one_who_came_meanwhile() -> None:
    store = Store()
    first, second, writer = (Claim(store, keys) for keys in (SHARED, SHARED, ALONE))
    at_once(first.gets())
    leaving = first.gives()
    while not store.asked[-1].startswith("show "):
        next(leaving)
    joining = second.gets(0.0)
    assert at_once(joining) == second.token
    at_once(leaving)
    assert at_once(writer.gets(0.0)) is None
    assert at_once(second.checks()) == second.token


def test_who_leaves_reads_one_key_while_the_first_holder_is_there() -> None:
    store = Store()
    first, second, third = (Claim(store, SHARED, name) for name in "abc")
    for each in (first, second, third):
        at_once(each.gets())
    before = len(store.asked)
    at_once(second.gives())
    assert [call.split(" ")[0] for call in store.asked[before:]] == ["release", "get"]
    at_once(first.gives())
    at_once(third.gives())
    left = store.keys()
    assert SHARED.held not in left


@pytest.mark.parametrize("error", [Unreachable("nobody answers"), KeyboardInterrupt()])
def test_a_release_that_failed_or_was_interrupted_asks_nothing_more(error: BaseException) -> None:
    """It would last for twice the time limit. The next claim deletes the mark."""

    def fails(command: str) -> None:
        asked.append(command)
        raise error

    cluster = Cluster()
    held = cluster.shared_lock().acquire()
    asked: list[str] = []
    cluster.before = fails
    with pytest.raises(type(error)):
        held.release()
    assert [command.partition(" ")[0] for command in asked] == ["release"]


def test_shared_holders_are_named_and_a_mark_alone_is_no_holder() -> None:
    store = Store()
    one, two = Claim(store, SHARED, "one"), Claim(store, SHARED, "two")
    asks = Claim(store, ALONE)
    for claim in (one, two):
        at_once(claim.gets())
    assert at_once(asks.names()) == ["one", "two"]
    for claim in (one, two):
        expire(store, claim.leases[0])
    assert at_once(asks.names()) == []


def test_a_shared_lock_that_an_operator_cleared_is_lost() -> None:
    store = Store()
    one, two, writer = (Claim(store, keys) for keys in (SHARED, SHARED, ALONE))
    at_once(one.gets())
    at_once(two.gets())
    store.carry_out(CALLS.delete(one.key))
    with pytest.raises(LeaseLost, match=f"{one.key} no longer belongs to this program"):
        at_once(one.checks())
    assert at_once(two.checks()) == two.token
    store.carry_out(CALLS.delete(ALONE.held))  # and the next one shares it anew
    assert at_once(writer.gets(0.0)) is not None
    at_once(writer.gives())
    at_once(Claim(store, SHARED).gets())
    with pytest.raises(LeaseLost):
        at_once(two.checks())


def test_a_listing_that_comes_again_is_news_also_without_an_event() -> None:
    protocol = SHARED.claim("lease-9", "program")
    mark = Event(5, "has", ALONE.held, f"{MARK}lease-1")
    protocol.apply_events([mark], is_listed=True)
    assert protocol.next_call() is not None
    protocol.apply_events([], is_listed=True)
    assert protocol.next_call() is None
    protocol.apply_events([], is_listed=False)
    protocol.apply_events([], is_listed=True)
    assert protocol.next_call() is not None


def test_a_leader_s_word_is_no_mark_of_shared_holders() -> None:
    store = Store()
    leader, other = (Claim(store, LockKeys(ELECTIONS, "service"), name) for name in "ab")
    leader._name = f"{MARK}lease-1"
    at_once(leader.gets())
    goes_on(other.gets())
    assert at_once(leader.checks()) == leader.token


def test_locks_whose_names_look_like_keys_of_others_are_others() -> None:
    store = Store()
    names = ("a", "a/shared", "a/shared/lease-1", "a/shared/lease-1/held")
    claims = [Claim(store, keys) for name in names for keys in (SharedKeys(name), Slots(name, 1))]
    for claim in claims:
        assert at_once(claim.gets(0.0)) is not None
    for claim in claims:
        at_once(claim.gives())
    assert store.keys() == {}


def test_programs_with_different_limits_each_keep_to_their_own_slots() -> None:
    store = Store()
    wide = [Claim(store, Slots("reports", 5), f"w{number}") for number in range(5)]
    narrow = Claim(store, Slots("reports", 2))
    for claim in wide:
        at_once(claim.gets(0.0))
    assert at_once(narrow.gets(0.0)) is None
    names = at_once(narrow.names())
    assert sorted(names) == ["w0", "w1", "w2", "w3", "w4"]
    third = next(each for each in wide if each.key.endswith("/3"))
    at_once(third.gives())
    assert at_once(narrow.gets(0.0)) is None
    first = next(each for each in wide if each.key.endswith("/1"))
    at_once(first.gives())
    assert at_once(narrow.gets(0.0)) is not None
    assert narrow.key.endswith("/1")


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_limit_that_can_t_be_one_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 1000 holders at a time, not {limit}"):
        Slots("reports", limit)


@pytest.mark.parametrize("limit", [True, 2.0, "3"])
def test_a_limit_is_a_whole_number(limit: Any) -> None:
    with pytest.raises(TypeError, match="a whole number is an int"):
        Slots("reports", limit)


# --- objects that threads and tasks use ---------------------------------------------------------


def test_a_semaphore_names_its_slots_and_holders() -> None:
    cluster = Cluster()
    one, two = cluster.semaphore(2), cluster.semaphore(2)
    assert (one.holders(), one.holder()) == ([], None)
    with one as first, two as second:
        assert {first.slot, second.slot} == {1, 2}
        assert one.holders() == [f"program process {os.getpid()}"] * 2
        assert cluster.semaphore(2).acquire(timeout=0) is None
        assert cluster.semaphore(2).acquire(timeout=0.01) is None
        assert len(cluster.keys()) == 2
    assert cluster.keys() == {}


def test_one_thread_may_hold_a_semaphore_twice() -> None:
    cluster = Cluster()
    pool = cluster.semaphore(2)
    first, second = pool.acquire(), pool.acquire()
    first.release()
    assert second.check() == second.token
    assert not first.is_held
    second.release()
    assert cluster.keys() == {}


def test_who_lost_a_shared_lock_shares_it_again() -> None:
    cluster = Cluster()
    lock = cluster.shared_lock()
    lost = lock.acquire()
    cluster.keeper.kept[-1].lose()  # type: ignore[attr-defined]
    with pytest.raises(LeaseLost):
        lost.check()
    with lock as held:
        assert held.check() == held.token


def test_a_child_process_does_not_share_what_its_parent_shares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Cluster().shared_lock() as held:
        with monkeypatch.context() as child:
            child.setattr("os.getpid", lambda: -1)
            assert not held.is_held
            with pytest.raises(RuntimeError, match="held by the process that forked"):
                held.release()
        assert held.is_held
