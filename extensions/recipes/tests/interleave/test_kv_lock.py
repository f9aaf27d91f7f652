"""`kv.lock`: one holder at a time, no wake-up lost, and nothing left in the cluster afterwards."""

from __future__ import annotations

import contextlib
import threading
import time

from raftline.clients.calls.calls import CALLS
from raftline.clients.connections.node_connection import Closed
from raftline.clients.leases import base_lease, gates, kept_leases, lease, lease_timer
from raftline.clients.leases.gates import Gates
from raftline.clients.leases.lease import Keeper
from raftline.recipes.locks import claims, held, lock
from raftline.recipes.locks.lock import Lock
from raftline.recipes.tests.rim.lock_cluster import HELD, Cluster
from raftline_testing.interleave.scenarios import check_interleavings, seeds
from raftline_testing.interleave.threads import Thread

LINES = (lock, claims, held, base_lease, kept_leases)
WAITS_S = (-1, 0, -1, 0.5)  # of the threads in turn; -1: for ever


class LongLeases(Cluster):
    """A cluster whose leases outlast every wait: nobody renews them."""

    ttl = 10.0**6


class OneClient(LongLeases):
    """A cluster whose claims are those of one client."""

    gates = Gates()


def threads_of_one_client_share_locks() -> None:
    OneClient.gates = Gates()
    cluster = OneClient()
    threads_share_locks(cluster)
    assert not cluster.gates._turns, "a thread stays at the gate"


def threads_of_clients_share_locks() -> None:
    threads_share_locks(LongLeases())


def threads_share_locks(cluster: Cluster) -> None:
    """Three threads share one object; a fourth has another one of the same lock."""
    shared, other = cluster.lock(), cluster.lock()
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


def a_client_is_closed_while_threads_wait() -> None:
    """A lock that a thread holds by then stays held until its lease would end."""
    cluster = LongLeases()
    cluster.keeper = Keeper(cluster, "program")
    lock = cluster.lock()
    tokens: list[int] = []

    def work() -> None:
        with contextlib.suppress(Closed):
            tokens.append(lock.acquire().token)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(Thread.schedule.random.choice((0.0, 0.1)))
    cluster.close()
    for thread in threads:
        thread.join()
    held = cluster.carry_out(CALLS.versions_page(HELD)).pairs
    assert tokens == [version.index for _, version in held]
    assert all(key.startswith(HELD) for key in set(cluster.keys())), "a closed client waits on"


@seeds(120, 30_000)
def test_a_closed_client_leaves_no_place_in_line(seeds: range) -> None:
    check_interleavings(a_client_is_closed_while_threads_wait, seeds, (*LINES, lease, lease_timer))


@seeds(120, 30_000)
def test_one_holds_it_at_a_time_and_everybody_gets_it(seeds: range) -> None:
    check_interleavings(threads_of_clients_share_locks, seeds, LINES)


@seeds(120, 30_000)
def test_threads_of_one_client_take_it_one_after_the_other(seeds: range) -> None:
    check_interleavings(threads_of_one_client_share_locks, seeds, (*LINES, gates))
