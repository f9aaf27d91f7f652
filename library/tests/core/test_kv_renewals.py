"""The order in which one thread renews the leases of a client."""

from __future__ import annotations

import math

from raftline.clients.leases.lease_timer import LeaseTimer
from raftline.clients.leases.renewals import Renewals


def kept(*leases: tuple[str, int, float]) -> tuple[Renewals, list[LeaseTimer]]:
    renewals = Renewals()
    timers = [LeaseTimer(*lease) for lease in leases]
    for timer in timers:
        renewals.add(timer)
    return renewals, timers


def test_due_renewals_go_in_the_order_of_expiry() -> None:
    """Of the leases that are due, the one that expires first is renewed first."""
    renewals, (long, short, later) = kept(
        ("lease-1", 300, 0.0), ("lease-2", 9, 96.0), ("lease-3", 9, 98.5)
    )
    assert renewals.due_s == 99.0
    assert renewals.take(98.9) is None
    assert renewals.take(102.0) is short  # all three are due: at 100, 99 and 101.5 s
    assert renewals.take(102.0) is later
    assert renewals.take(102.0) is long
    assert renewals.take(102.0) is None
    short.retry_soon(102.0)
    renewals.put_back(short)
    renewals.put_back(long)
    assert renewals.take(102.3) is short


def test_taken_lease_is_due_a_third_of_its_time_after_sending() -> None:
    """A lease taken for a renewal is due again a third of its TTL after that renewal was sent."""
    renewals, (one,) = kept(("lease-1", 9, 0.0))
    assert renewals.take(3.0) is one
    one.extend(3.5)
    renewals.put_back(one)
    assert renewals.due_s == 6.5
    assert renewals.take(6.4) is None
    assert renewals.take(6.5) is one


def test_a_lease_that_the_program_renewed_itself_is_due_later() -> None:
    renewals, (one, other) = kept(("lease-1", 9, 0.0), ("lease-2", 9, 0.5))
    one.extend(2.0)
    assert renewals.take(3.0) is None
    assert renewals.due_s == 3.5
    assert renewals.take(5.0) is other
    other.extend(4.9)
    renewals.put_back(other)
    assert renewals.take(5.0) is one


def test_leases_that_are_over_are_kept_no_more() -> None:
    renewals, (one, two) = kept(("lease-1", 9, 0.0), ("lease-2", 5, 0.0))
    assert (len(renewals), renewals.shortest_s) == (2, 5)
    renewals.drop(two)
    renewals.drop(two)
    assert (len(renewals), renewals.shortest_s) == (1, 9)
    assert renewals.take(100.0) is one
    renewals.drop(one)
    renewals.put_back(one)
    assert renewals.take(100.0) is None
    assert (len(renewals), renewals.shortest_s) == (0, math.inf)


def test_all_are_given_up_at_once() -> None:
    renewals, timers = kept(("lease-1", 9, 0.0), ("lease-2", 5, 0.0))
    assert set(renewals.drop_all()) == set(timers)
    assert not renewals
    assert renewals.take(100.0) is None
    assert renewals.due_s == math.inf
