"""`ReplicatedLock` of threads and programs: one holder, by beats (level 1) and by a lease."""

from __future__ import annotations

import contextlib
import threading
import time
from functools import partial

from raftline.clients.search import text_of
from raftline.objects import lock, lock_by_lease
from raftline.objects.base import LockLost
from raftline.objects.lock import ReplicatedLock
from raftline.state.commands import execute
from raftline.wire.commands import read_request
from raftline.wire.operands import Limits
from raftline.wire.replies import Reply
from tests.core.kv_model import Model
from tests.interleave.explore import check_interleavings, first_failure, seeds
from tests.interleave.threads import Thread
from tests.rim.test_replicated import Cluster

LINES = (lock, lock_by_lease)
LEASE_S = 2.0
WAYS_S = (0.0, 0.0, 0.0, 0.1, 0.9, 3.0)
TURNS = 2


class LevelOne(Cluster):
    """A cluster at level 1; requests and replies take their time."""

    def request(self, command: str, timeout: float | None = None) -> str:
        time.sleep(Thread.schedule.random.choice(WAYS_S))
        reply = self.carry_out(command)
        time.sleep(Thread.schedule.random.choice(WAYS_S))
        return reply

    def carry_out(self, command: str) -> str:
        return super().request(command)


class LevelTwo(LevelOne):
    """One that knows leases, and ends them by its own clock."""

    def __init__(self) -> None:
        super().__init__()
        self._model = Model()
        self._until_s: dict[str, float] = {}

    def carry_out(self, command: str) -> str:
        verb, _, operands = command.partition(" ")
        with self._one_at_a_time:
            now_s = time.monotonic()
            for lease in [name for name, until_s in self._until_s.items() if until_s <= now_s]:
                del self._until_s[lease]
                self._model.expire(lease)
            store = self._model.store
            if verb == "renew":
                if operands not in store.leases.granted:
                    return f"RENEW response, no such lease: {operands}"
                self._until_s[operands] = now_s + LEASE_S
                return f"RENEW response: {operands}"
            store.number += 1
            request = read_request("program", "", command, Limits())
            text = text_of(Reply("s1", execute(store, request.command)))
            if verb == "lease":
                self._until_s[f"lease-{store.number}"] = now_s + LEASE_S
            return text


class NeverLost(ReplicatedLock):
    """A holder believes that it holds the lock, whatever its clock shows."""

    @property
    def is_held(self) -> bool:
        return self._local.holding is not None


def programs_take_it(
    cluster_of: type[LevelOne] = LevelOne, kind: type[ReplicatedLock] = ReplicatedLock
) -> None:
    """Two programs, of which one has two threads, take the lock in turn; a holder may be slow."""
    cluster = cluster_of()
    first, second = (kind("nightly", cluster, lease=LEASE_S) for _ in range(2))
    tokens: list[int] = []

    def work(one: ReplicatedLock) -> None:
        for _ in range(TURNS):
            assert one.acquire()
            token = one.token
            tokens.append(token)
            for _ in range(3):
                is_over = max(tokens) > token
                assert not (is_over and one.is_held), "held though another one has it"
                time.sleep(Thread.schedule.random.choice((0.0, LEASE_S / 3, 2 * LEASE_S)))
            with contextlib.suppress(LockLost):  # its beats or renewals took too long
                one.release()

    threads = [threading.Thread(target=work, args=(one,)) for one in (first, first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(tokens)) == len(tokens) == len(threads) * TURNS
    time.sleep(4 * LEASE_S)  # one that was lost runs out
    assert not first.locked() or not Thread.schedule.is_punctual, "it is held for ever"


at_level_2 = partial(programs_take_it, LevelTwo)


def a_grant_comes_too_late() -> None:
    """The first lease is over before its grant is known. Another one is granted in time."""

    class Slow(LevelTwo):
        def carry_out(self, command: str) -> str:
            reply = super().carry_out(command)
            if command.startswith("lease "):
                time.sleep(slow_s.pop() if slow_s else 0.0)
            return reply

        def request(self, command: str, timeout: float | None = None) -> str:
            return self.carry_out(command)

    if not Thread.schedule.is_punctual:
        return
    slow_s = [LEASE_S + 1]
    lock = ReplicatedLock("nightly", Slow(), lease=LEASE_S)
    assert lock.acquire(timeout=5.0)
    assert lock.is_held
    lock.release()
    slow_s.append(LEASE_S + 1)
    assert not lock.acquire(timeout=LEASE_S)


def test_a_grant_that_comes_too_late_is_asked_for_again() -> None:
    check_interleavings(a_grant_comes_too_late, range(8))


@seeds(20, 5_000)
def test_one_program_holds_it_by_its_beats(seeds: range) -> None:
    check_interleavings(programs_take_it, seeds, LINES)


@seeds(20, 5_000)
def test_one_program_holds_it_by_its_lease(seeds: range) -> None:
    check_interleavings(at_level_2, seeds, LINES)


def test_a_holder_that_looks_at_no_clock_is_found() -> None:
    assert first_failure(partial(programs_take_it, LevelOne, NeverLost), range(50), LINES)
