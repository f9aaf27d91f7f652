"""`kv.lock`: one holder at a time, no wake-up lost, and nothing left in the cluster afterwards."""

from __future__ import annotations

import threading

from raftline.clients.locks import claims, held, lock
from raftline.clients.locks.contest import LOCKS, LockKeys
from raftline.clients.locks.lock import Lock
from raftline_testing.interleave.scenarios import check_interleavings, seeds
from tests.rim.objects.lock_cluster import Cluster

LINES = (lock, claims, held)
WAITS_S = (-1, 0, -1, 0.5)  # of the threads in turn; -1: for ever


def threads_share_locks() -> None:
    """Three threads share one object; a fourth has another one of the same lock."""
    cluster = Cluster()
    shared, other = (
        Lock(
            cluster, cluster.keeper, cluster.watch, LockKeys(LOCKS, "nightly"), 10, None, "program"
        )
        for _ in range(2)
    )
    holders: list[int] = []
    tokens: list[int] = []

    def work(one: Lock, wait_s: float) -> None:
        held = one.acquire(timeout=wait_s)
        assert held is not None or wait_s >= 0
        if held is None:
            return
        holders.append(held.token)
        assert len(holders) == 1, "two hold it"
        tokens.append(held.token)  # a line of a module at which threads switch
        holders.remove(held.token)
        held.release()

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
