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
from raftline.clients.connections.node_connection import ClientError, Unreachable
from raftline.clients.leases.base_lease import BaseLease
from raftline.clients.leases.kept_leases import KeptLeases
from raftline.clients.leases.lease_timer import LeaseTimer
from raftline.recipes.locks.claim_steps import Look, Shielded
from raftline.recipes.locks.claims import CHECK_S, BaseClaim
from raftline.recipes.locks.held import BaseHeld
from raftline.recipes.locks.lock_keys import LOCKS, LockKeys, SharedKeys, Slots
from raftline.recipes.tests.rim.lock_cluster import Cluster, Followed, Store
from raftline_testing.runner.at_night import for_seeds

ALONE = LockKeys(LOCKS, "nightly")
SHARED = SharedKeys("nightly")
Steps = Generator[None, None, Any]
Kind = TypeVar("Kind")


class _Keeper:
    def __init__(self) -> None:
        self.kept = KeptLeases()
        self.leaving: set[str] = set()

    def keep(self, timer: LeaseTimer) -> None:
        """Leases end by order of the test."""

    def drop(self, timer: LeaseTimer) -> None: ...
    def hurry(self, timer: LeaseTimer) -> None: ...


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
        self.now_s = 0.0
        keeper = _Keeper()
        self._kept_leases = keeper.kept
        super().__init__(store, keeper, partial(Watch, store), keys, 10)

    @property
    def lease_now(self) -> LeaseTimer | None:
        """The lease that this program keeps."""
        return self._kept_leases.get(10.0)

    def _now(self) -> float:
        return self.now_s

    @property
    def key(self) -> str:
        return self.held._key

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
                is_over = step.until_s is not None and self.now_s >= step.until_s
                is_heard = step.watch.takes()
                do = partial(steps.send, is_heard)
                if not (is_heard or is_over):
                    do = partial(_again, step)
            elif isinstance(step, Shielded):
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
    """Make each further request fail."""
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
    """Make a lease run out."""
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
        self.highest_of: dict[int, int] = {}  # by slot
        self.most = self.losses = 0
        self.unheard: list[LeaseTimer] = []  # leases that have expired, as their holders don't know
        claims = [Claim(self.store, keys, f"p{number}") for number, keys in enumerate(kinds)]
        self.running: dict[Claim, Iterator[None]] = {each: self.lives(each) for each in claims}

    def run(self) -> None:
        for _ in range(20_000):
            if not self.running:
                return
            if self.unheard and self.chance.random() < 0.1:
                self.unheard.pop().lose()  # as a renewal shows
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
        if claim.key not in self.store.model.store:
            return  # its lease has expired, which its clock would have shown
        others = [each.contested for each in self.holders]
        if claim.contested is SHARED:
            assert set(others) <= {SHARED}, "it is held by one alone"
            assert token > self.highest_alone
        else:
            assert len(others) < self.limit, "too many hold it"
            slot = claim.held.slot
            assert token > (self.highest if slot is None else self.highest_of.get(slot, 0))
            self.highest_alone = token
            if slot is not None:
                self.highest_of[slot] = token
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
        kept = claim.lease_now
        if kept is not None:
            self.unheard.append(kept)


def is_left(store: Store) -> dict[str, str]:
    """Return the keys that are there once another program had the lock for a moment."""
    last = Claim(store, ALONE)
    assert at_once(last.gets(0.0)) is not None
    at_once(last.gives())
    return store.keys()


@for_seeds(30, 300)
def test_one_holds_a_lock_alone_or_many_share_it(seed: int) -> None:
    world = World(seed, [SHARED, ALONE, SHARED, ALONE, SHARED])
    world.run()
    assert is_left(world.store) == {}


@for_seeds(15, 150)
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


def test_exclusive_claim_is_not_passed_by_shared_ones() -> None:
    """A claim that waits to hold the lock alone is not passed by new shared holders."""
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
    at_once(writer.gives())
    assert at_once(late_waiting) > alone
    at_once(late.gives())
    assert store.keys() == {}


def test_one_try_succeeds_once_the_shared_holders_are_gone() -> None:
    store = Store()
    one, two, writer = (Claim(store, keys) for keys in (SHARED, SHARED, ALONE))
    at_once(one.gets())
    at_once(two.gets())
    expire(store, one.leases[0])
    assert at_once(writer.gets(0.0)) is None
    expire(store, two.leases[0])
    assert at_once(writer.gets(0.0)) == writer.token


def test_claim_whose_lease_ends_in_line_is_made_again_at_its_end() -> None:
    """A claim whose lease ends in line is made again at its end."""
    store = Store()
    first, second, third = (Claim(store, ALONE, name) for name in "abc")
    at_once(first.gets())
    waiting = (second.gets(), third.gets())
    for each in waiting:
        goes_on(each)
    expire(store, second.leases[0])
    lost = second.lease_now
    assert lost is not None
    lost.lose()
    goes_on(waiting[0])
    at_once(first.gives())
    token = at_once(waiting[1])
    goes_on(waiting[0])
    at_once(third.gives())
    assert at_once(waiting[0]) > token


def test_whose_place_was_deleted_by_hand_gets_another_one() -> None:
    store = Store()
    first, second = Claim(store, ALONE, "a"), Claim(store, ALONE, "b")
    at_once(first.gets())
    waiting = second.gets()
    goes_on(waiting)
    store.carry_out(CALLS.clear(f"{ALONE.prefix}line/"))
    second.now_s += CHECK_S
    goes_on(waiting)
    at_once(first.gives())
    assert at_once(waiting) == second.token


@pytest.mark.parametrize("keys", [ALONE, SHARED, Slots("reports", 1)])
def test_who_waits_notices_that_the_holder_was_deleted_by_hand(keys: LockKeys) -> None:
    store = Store()
    first = Claim(store, keys if isinstance(keys, Slots) else ALONE)
    second = Claim(store, keys)
    at_once(first.gets())
    waiting = second.gets()
    goes_on(waiting)
    second.now_s += CHECK_S
    goes_on(waiting)
    asked = len(store.asked)
    second.now_s += CHECK_S
    goes_on(waiting)
    assert [each.split(" ")[0] for each in store.asked[asked:]] == ["show", "stat"]
    store.carry_out(CALLS.delete(first.key))
    second.now_s += CHECK_S
    assert at_once(waiting) == second.token > first.token


def test_shared_holders_are_named() -> None:
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
    store.carry_out(CALLS.clear(SHARED.prefix))
    assert at_once(writer.gets(0.0)) is not None
    at_once(writer.gives())
    at_once(Claim(store, SHARED).gets())
    with pytest.raises(LeaseLost):
        at_once(two.checks())


def test_locks_whose_names_look_like_keys_of_others_are_others() -> None:
    store = Store()
    names = ("a", "a/held", "a/held/shared", "a/held/shared/lease-1", "a/held/0001")
    claims = [Claim(store, keys) for name in names for keys in (SharedKeys(name), Slots(name, 1))]
    for claim in claims:
        assert at_once(claim.gets(0.0)) is not None
    for claim in claims:
        at_once(claim.gives())
    assert store.keys() == {}


def test_programs_with_different_limits_keep_to_their_slots() -> None:
    """Programs with different limits each keep to their own slots."""
    store = Store()
    wide = [Claim(store, Slots("reports", 5), f"w{number}") for number in range(5)]
    narrow = Claim(store, Slots("reports", 2))
    for claim in wide:
        at_once(claim.gets(0.0))
    assert at_once(narrow.gets(0.0)) is None
    names = at_once(narrow.names())
    assert sorted(names) == ["w0", "w1", "w2", "w3", "w4"]
    third = next(each for each in wide if each.held.slot == 3)
    at_once(third.gives())
    assert at_once(narrow.gets(0.0)) is None
    first = next(each for each in wide if each.held.slot == 1)
    at_once(first.gives())
    assert at_once(narrow.gets(0.0)) is not None
    assert narrow.held.slot == 1


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
    cluster.keeper.timers[-1].lose()  # type: ignore[attr-defined]
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
