"""The contest for a lock, in any order of its steps: one holder at a time, tokens that grow, and
nobody who waits is passed by for ever."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from raftline.clients.calls.calls import CallFactory
from raftline.clients.calls.kv_errors import LeaseLost
from raftline.clients.calls.value_codec import TEXT
from raftline.clients.locks.contest import LOCKS, LockKeys, LockProtocol, token_in
from raftline.clients.watches.watch_events import Event, WatchCursor
from raftline.wire.commands import watch_lines as words
from tests.core.clients.kv_model import Model

CALLS = CallFactory(TEXT)
PLACE = LockKeys(LOCKS, "nightly")


class Cluster(Model):
    """A model whose events any number of watches read, each at its own pace."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def answered(self) -> list[str]:
        self.lines += [
            words.event(event.number, event.kind, event.key, event.value) for event in self.events()
        ]
        return self.lines


class Waiter:
    """A program that wants the lock, as `Claim` does it, one step at a time."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.token: int | None = None
        self.lease = cluster.ask(CALLS.grant(10))
        self.steps = self._run()

    def _run(self) -> Iterator[None]:
        cluster = self.cluster
        protocol = LockProtocol(PLACE, self.lease, self.name)
        self.token = token_in(cluster.ask(protocol.try_once()))
        yield
        cursor = WatchCursor(TEXT, PLACE.prefix, None)
        pairs = sorted(cluster.store.items())
        begun = len(cluster.answered())
        number = cluster.store.number
        first = [words.begins(len(pairs), number), *(words.has(number, *pair) for pair in pairs)]
        place = 0
        lines = iter(first)
        while self.token is None:
            line = next(lines, None)
            if line is None:
                if begun + place >= len(cluster.answered()):
                    yield
                    continue
                line = cluster.answered()[begun + place]
                place += 1
            events: list[Event[str]] = cursor.take(line)
            protocol.apply_events(events, cursor.is_listed)
            yield
            call = protocol.next_call() if cursor.is_listed else None
            if call is not None:
                yield
                self.token = token_in(cluster.ask(call))

    def step(self) -> None:
        next(self.steps, None)


@pytest.mark.parametrize("seed", range(200))
def test_one_holds_it_at_a_time_and_tokens_grow(seed: int) -> None:
    chance = random.Random(seed)
    cluster = Cluster()
    waiters = [Waiter(cluster, f"w{number}") for number in range(5)]
    holder: Waiter | None = None
    tokens: list[int] = []
    for _ in range(5000):
        if not waiters and holder is None:
            break
        if holder is not None and chance.random() < 0.1:  # it lets go, or dies
            if chance.random() < 0.5:
                assert cluster.ask(CALLS.release(holder.lease)) == 1
            else:
                cluster.expire(holder.lease)
                cluster.ask(CALLS.release(holder.lease))
            holder = None
            continue
        if not waiters:
            continue
        waiter = chance.choice(waiters)
        waiter.step()
        if waiter.token is not None:
            assert holder is None, "two hold it"
            assert cluster.store[PLACE.held] == waiter.name
            holder = waiter
            waiters.remove(waiter)
            tokens.append(waiter.token)
    assert waiters == [], "each gets it in the end"
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 5


def test_a_holder_that_asks_again_at_once_does_not_pass_by_who_waits() -> None:
    cluster = Cluster()
    first, second = Waiter(cluster, "first"), Waiter(cluster, "second")
    first.step()
    assert first.token is not None
    for _ in range(10):
        second.step()
    cluster.ask(CALLS.release(first.lease))
    again = Waiter(cluster, "first")
    again.step()
    assert again.token is None
    for _ in range(10):
        again.step()
        second.step()
    assert second.token is not None
    assert again.token is None


def test_who_is_next_and_dies_makes_room_for_another() -> None:
    cluster = Cluster()
    first, second, third = (Waiter(cluster, name) for name in ("first", "second", "third"))
    for waiter in (first, second, third):
        for _ in range(10):
            waiter.step()
    assert cluster.store[PLACE.next] == second.lease
    cluster.expire(second.lease)
    cluster.expire(first.lease)
    for _ in range(10):
        third.step()
    assert third.token == cluster.store.facts(PLACE.held).changed  # type: ignore[union-attr]


def test_a_lease_that_ends_while_it_waits_is_reported() -> None:
    cluster = Cluster()
    first, second = Waiter(cluster, "first"), Waiter(cluster, "second")
    first.step()
    for _ in range(10):
        second.step()
    cluster.expire(second.lease)
    cluster.expire(first.lease)

    def goes_on() -> None:
        for _ in range(10):
            second.step()

    with pytest.raises(LeaseLost, match=f"{second.lease} has ended"):
        goes_on()
    assert PLACE.held not in cluster.store


def test_locks_whose_names_look_like_keys_of_others_are_others() -> None:
    cluster = Cluster()
    names = ("a", "a/next", "a/held", "a/next/held", "a then b", ";")
    for name in names:
        lease = cluster.ask(CALLS.grant(10))
        protocol = LockProtocol(LockKeys(LOCKS, name), lease, name)
        assert token_in(cluster.ask(protocol.try_once())) is not None
    assert len(cluster.store) == len(names)


def test_who_is_next_takes_nothing_that_somebody_set_by_hand() -> None:
    cluster = Cluster()
    first, second = Waiter(cluster, "first"), Waiter(cluster, "second")
    first.step()
    for _ in range(10):
        second.step()
    cluster.ask(CALLS.release(first.lease))
    cluster.answered()
    protocol = LockProtocol(PLACE, second.lease, "second")
    protocol.apply_events([Event(1, "has", PLACE.next, second.lease)], is_listed=True)
    call = protocol.next_call()
    assert call is not None
    cluster.ask(CALLS.set(PLACE.held, "by hand"))
    assert token_in(cluster.ask(call)) is None
    assert cluster.store[PLACE.held] == "by hand"
