"""`kv.lock`: one holder at a time, no wake-up lost, and nothing left in the cluster afterwards."""

from __future__ import annotations

import threading

import pytest

from raftline.clients.locks import callers, claims, lock
from raftline.clients.locks.contest import LOCKS, LockKeys
from raftline.clients.locks.lock import Lock
from raftline_testing.interleave.scenarios import check_interleavings, first_failure, seeds
from tests.interleave.one_attempt import OneAttempt
from tests.rim.lock_cluster import Cluster

LINES = (lock, claims, callers)
WAITS_S = (-1, 0, -1, 0.5)  # of the threads in turn; -1: for ever


class AsItWas(OneAttempt, Lock):
    pass


def threads_share_locks(kind: type[Lock] = Lock) -> None:
    """Three threads share one object; a fourth has another one of the same lock."""
    cluster = Cluster()
    shared, other = (
        kind(
            cluster, cluster.keeper, cluster.watch, LockKeys(LOCKS, "nightly"), 10, None, "program"
        )
        for _ in range(2)
    )
    holders: list[int] = []
    tokens: list[int] = []

    def work(one: Lock, wait_s: float) -> None:
        token = one.acquire(timeout=wait_s)
        assert token is not None or wait_s >= 0
        if token is None:
            return
        holders.append(token)
        assert len(holders) == 1, "two hold it"
        assert len(cluster.model.store.leases.granted) <= 2, "callers did not take turns"
        tokens.append(one.token)
        holders.remove(token)
        one.release()

    threads = [
        threading.Thread(target=work, args=(other if number == 2 else shared, wait_s))
        for number, wait_s in enumerate(WAITS_S)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tokens == sorted(set(tokens)), "a token came twice"
    assert len(tokens) >= WAITS_S.count(-1)
    assert cluster.keys() == {}, "the lock is held for ever"


@seeds(120, 30_000)
def test_one_holds_it_at_a_time_and_everybody_gets_it(seeds: range) -> None:
    check_interleavings(threads_share_locks, seeds, LINES)


@pytest.mark.pure
def test_callers_that_share_one_attempt_are_found() -> None:
    failure = first_failure(lambda: threads_share_locks(AsItWas), range(50), LINES)
    assert failure is not None
