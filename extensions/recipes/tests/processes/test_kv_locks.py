"""Locks, elections and semaphores of `raftline.connect()` at real nodes."""

from __future__ import annotations

import copy
import json
import os
import pickle
import signal
import threading
from datetime import timedelta
from itertools import pairwise

import pytest

import raftline
from raftline.clients.requests.pool import Clients
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S, eventually
from tests.processes.typed import at, somebody_waits


def test_a_lock_can_not_be_copied(kv: raftline.KV[str]) -> None:
    for each in (kv.lock("copied"), kv.election("copied")):
        with pytest.raises(TypeError, match="can't be copied or pickled"):
            pickle.dumps(each)
        with pytest.raises(TypeError, match="can't be copied or pickled"):
            copy.copy(each)
        assert repr(each).startswith("<")


def test_the_times_of_a_lock_have_milliseconds(kv: raftline.KV[str]) -> None:
    with kv.lock("s", ttl=0.75) as held:
        assert held.check() == held.token
        assert kv.lock("s").acquire(timeout=timedelta(0)) is None


def renewing() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if "renews" in each.name]


def test_one_thread_renews_the_leases_of_successive_locks(kv: raftline.KV[str]) -> None:
    threads: list[threading.Thread] = []
    for _ in range(10):
        with kv.lock("one after the other"):
            threads += eventually(renewing, "a thread that renews")
    assert len(set(threads)) < len(threads) == 10


def test_one_program_holds_a_lock_at_a_time(kv: raftline.KV[str], nodes: Cluster) -> None:
    program = raftline.connect(at(nodes))
    with kv.lock("nightly", ttl=5) as held:
        assert held.token > 0
        other = program.lock("nightly", ttl=5)
        assert other.acquire(timeout=0) is None
        assert other.acquire(timeout=0.2) is None
        assert other.holder() == kv.lock("nightly").holder() is not None
        got: list[raftline.api.Held] = []
        waits = threading.Thread(target=lambda: got.append(other.acquire()))
        waits.start()
        eventually(lambda: somebody_waits(kv, "lock/nightly/"), "somebody who waits")
    waits.join(DEADLINE_S)
    later = got[0]
    assert later.check() == later.token > held.token
    assert later.is_held
    assert other.acquire(timeout=0.5) is None  # not reentrant
    later.release()
    with pytest.raises(RuntimeError, match="released already"):
        later.release()
    assert list(kv.items("lock/nightly/")) == []
    assert other.holder() is None
    program.close()


def test_programs_share_a_lock_and_hold_a_semaphore(kv: raftline.KV[str], nodes: Cluster) -> None:
    with raftline.connect(at(nodes)) as other, other.lock("book", shared=True, ttl=5) as first:
        with kv.lock("book", shared=True, ttl=5) as second:
            assert second.token > first.token
            assert kv.lock("book").acquire(timeout=0) is None
            got: list[raftline.api.Held] = []
            waiting = threading.Thread(target=lambda: got.append(kv.lock("book").acquire()))
            waiting.start()
            eventually(lambda: somebody_waits(kv, "lock/book/"), "somebody who waits")
            assert other.lock("book", shared=True).acquire(timeout=0) is None
        assert got == []
    waiting.join(DEADLINE_S)
    assert got[0].token > second.token
    with kv.semaphore("pool", 1) as held:
        pool = kv.semaphore("pool", 1)
        assert pool.acquire(timeout=0.2) is None
        assert len(pool.holders()) == 1
    with pool as later:
        assert later.token > held.token
    assert list(kv.keys("semaphore/")) == []
    assert list(kv.keys("lock/book/")) == [got[0]._key]  # which the thread has got


def test_the_lock_of_a_killed_holder_is_free_for_who_tries_once(
    kv: raftline.KV[str], nodes: Cluster
) -> None:
    child = os.fork()
    if child == 0:
        raftline.connect(at(nodes)).lock("killed", ttl=5).acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert kv.lock("killed").acquire(timeout=0) is None
    eventually(lambda: kv.lock("killed").holder() is None, "the lease has ended")
    held = kv.lock("killed").acquire(timeout=0)
    assert held is not None
    held.release()


def test_an_election_has_one_leader_and_tells_who(kv: raftline.KV[str]) -> None:
    first, second = kv.election("service"), kv.election("service")
    observer = second.observe()
    assert next(observer) is None
    held = first.campaign("host one")
    assert next(observer) == "host one"
    assert second.campaign("host two", timeout=1) is None
    assert second.leader() == "host one"
    held.release()
    assert next(observer) is None
    with second.campaign("host two") as later:
        assert later.token > held.token
        assert next(observer) == "host two"
        assert later.is_held
    assert first.leader() is None


def test_a_leader_that_hangs_does_not_cost_the_lock(cluster: Cluster) -> None:
    addresses = [f"localhost:{node.port}" for node in cluster.nodes]
    # So patient that the lease would be over long before another node was asked.
    with (
        raftline.connect(",".join(addresses), timeout=8 * DEADLINE_S) as patient,
        raftline.connect(",".join(addresses)) as other,
        Clients(*addresses, timeout=DEADLINE_S) as clients,
    ):
        held = patient.lock("door", ttl=9).acquire()
        rivals: list[raftline.api.Held] = []
        waits = threading.Thread(target=lambda: rivals.append(other.lock("door").acquire()))
        waits.start()
        hung = cluster.leader()
        hung.pause()

        times_left: list[float] = []

        def renewed() -> bool:
            leases = clients.request("leases").removeprefix("LEASES response: ")
            times_left.extend(lease["left"] for lease in json.loads(leases)["leases"].values())
            # It was let go for a third of its time, and begun anew, for longer than it lasts.
            return sum(later > left for left, later in pairwise(times_left)) > 3

        eventually(renewed, "renewals at another leader")
        assert (held.check(), held.is_held) == (held.token, True)
        hung.resume()
        held.release()
        waits.join(DEADLINE_S)
        assert rivals[0].token > held.token
        rivals[0].release()


def test_a_wait_outlives_the_one_node_that_was_named(three: Cluster) -> None:
    named = three.nodes[1]
    got: list[raftline.api.Held | None] = []
    with raftline.connect(at(three), timeout=DEADLINE_S) as others:
        holder = others.lock("door").acquire()

        def wait() -> None:
            with raftline.connect(f"localhost:{named.port}", timeout=DEADLINE_S) as kv:
                got.append(kv.lock("door").acquire(DEADLINE_S))

        waiter = threading.Thread(target=wait)
        waiter.start()
        eventually(lambda: somebody_waits(others, "lock/door/"), "somebody waits for the lock")
        named.kill()
        others["n"] = "1"
        holder.release()
        waiter.join(DEADLINE_S)
    assert got[0] is not None
