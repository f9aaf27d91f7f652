"""Barriers: a waiter continues, whether a barrier is opened before, during or after the list of
its keys."""

from __future__ import annotations

import threading

from raftline.recipes.groups import barrier, barrier_steps
from raftline.recipes.groups.barrier import Barrier, DoubleBarrier
from raftline.recipes.groups.barrier_steps import BarrierKeys
from raftline.recipes.locks import claims
from raftline.recipes.tests.rim.lock_cluster import Cluster
from raftline_testing.interleave.scenarios import check_interleavings, seeds

LINES = (barrier, barrier_steps, claims)
PROGRAMS = 3


def threads_wait_until_it_is_open() -> None:
    """Two threads wait at a closed barrier, and a third opens it."""
    cluster = Cluster()
    keys = BarrierKeys("start")
    gate = Barrier(cluster, cluster.keeper, cluster.watch, keys, 10)
    gate.close()
    passed: list[bool] = []
    threads = [threading.Thread(target=lambda: passed.append(gate.wait())) for _ in range(2)]
    threads.append(threading.Thread(target=gate.open))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert passed == [True, True]


def threads_meet() -> None:
    """Each thread enters a double barrier, and leaves it with the others."""
    cluster = Cluster()
    keys = BarrierKeys("meeting", PROGRAMS)
    left: list[bool] = []

    def work() -> None:
        held = DoubleBarrier(cluster, cluster.keeper, cluster.watch, keys, 10.0**6).enter()
        assert held is not None
        left.append(held.leave())

    threads = [threading.Thread(target=work) for _ in range(PROGRAMS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert left == [True] * PROGRAMS
    assert cluster.keys() == {}, "something is left in the cluster"


@seeds(60, 20_000)
def test_a_waiter_continues_once_the_barrier_is_open(seeds: range) -> None:
    check_interleavings(threads_wait_until_it_is_open, seeds, LINES)


@seeds(60, 20_000)
def test_all_enter_and_leave_a_double_barrier_together(seeds: range) -> None:
    check_interleavings(threads_meet, seeds, LINES)
