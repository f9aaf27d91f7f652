"""The thread that renews leases: none is believed in too long, none is lost for nothing."""

from __future__ import annotations

import threading
import time

import pytest
from library.tests.interleave.lease_cluster import TTLS, WHILE_S, LeaseCluster

from raftline.clients.calls.kv_errors import LeaseLost
from raftline.clients.connections.node_connection import Unreachable
from raftline.clients.leases import lease as leases
from raftline.clients.leases import lease_timer, renewals
from raftline.clients.leases.lease import Keeper, Lease
from raftline_testing.interleave.scenarios import check_interleavings, first_failure, seeds
from raftline_testing.interleave.threads import Thread

LINES = (leases, lease_timer, renewals)


class ByTheAnswer(Lease):
    """Counts from the moment at which the answer came."""

    def grant(self) -> Lease:
        super().grant()
        assert self._timer is not None
        self._timer.timer.extend(self._now())
        return self


def leases_are_kept(kind: type[Lease] = Lease, *, is_prompt: bool = False) -> None:
    """Threads hold a lease each, one after the other, of one client."""
    cluster = LeaseCluster(is_prompt=is_prompt)
    keeper = Keeper(cluster, "program")
    lost: list[int] = []

    def hold(number: int) -> None:
        ttl = TTLS[number]
        lease = kind(cluster, keeper, ttl, on_lost=lambda: lost.append(number))
        try:
            lease.grant()
        except (LeaseLost, Unreachable):
            return
        until_s = time.monotonic() + WHILE_S
        while time.monotonic() < until_s:
            was_gone = cluster.is_gone(lease.id)
            assert not (was_gone and lease.is_held), "held after its end"
            time.sleep(ttl / 4)
        try:
            lease.release()
        except (LeaseLost, Unreachable):
            assert not is_prompt
        assert not lease.is_held

    threads = [threading.Thread(target=hold, args=(number,)) for number in range(len(TTLS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keeper.close()
    time.sleep(20.0)
    is_gone = not keeper._renewals.is_carried_out
    assert is_gone or not Thread.schedule.is_punctual, "the thread that renews goes on"
    assert len(lost) == len(set(lost)), "a loss was reported twice"
    assert not is_prompt or (lost == [] and len(cluster.released) == len(TTLS))


def answers_are_prompt() -> None:
    if Thread.schedule.is_punctual:
        leases_are_kept(is_prompt=True)


@seeds(70, 30_000)
def test_a_lease_is_held_until_its_end_at_most(seeds: range) -> None:
    check_interleavings(leases_are_kept, seeds, LINES)


@seeds(50, 20_000)
def test_no_lease_is_lost_while_the_cluster_answers(seeds: range) -> None:
    check_interleavings(answers_are_prompt, seeds, LINES)


@pytest.mark.slow
def test_a_lease_that_is_counted_from_the_answer_is_found() -> None:
    assert first_failure(lambda: leases_are_kept(ByTheAnswer), range(100), LINES) is not None
