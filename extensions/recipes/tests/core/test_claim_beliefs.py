"""The check of claims: two holders of a lock, and a job that is lost or ends twice, are found."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from raftline.recipes.harness.claim_machine import ClaimBeliefs, ClaimMachine
from raftline_testing.workloads.holder_machine import LeaseBeliefs
from raftline_testing.workloads.line_request import LineRequest


@pytest.fixture
def claims() -> ClaimBeliefs:
    return ClaimBeliefs(Counter(), "w1.")


def client(claims: ClaimBeliefs, name: str) -> ClaimMachine:
    """Return a client with a lease of three seconds from 0 ms on; it is always 1 s."""
    chance, counts = random.Random(1), Counter[str]()
    machine = ClaimMachine(name, chance, lambda: 1000.0, LeaseBeliefs(), counts, claims)
    machine._seconds = 3
    machine._hear(LineRequest(machine, "lease 3", 0), f"LEASE response: lease-{name} for 3 s")
    return machine


def take_lock(machine: ClaimMachine, token: int) -> None:
    request = LineRequest(machine, "hold w1.c/door/ alone lease/1 name", 0)
    machine._hear(request, f"HOLD response: held {token}")


def test_a_lock_with_two_certain_holders_is_found(claims: ClaimBeliefs) -> None:
    one, other = client(claims, "one"), client(claims, "other")
    take_lock(one, 5)
    with pytest.raises(AssertionError, match=r"other has w1\.c/door/ alone, and others hold it"):
        take_lock(other, 6)


def test_a_token_that_does_not_grow_is_found(claims: ClaimBeliefs) -> None:
    one, other = client(claims, "one"), client(claims, "other")
    take_lock(one, 5)
    one._forget()
    with pytest.raises(AssertionError, match="has token 5 after 5"):
        take_lock(other, 5)


def test_a_job_that_is_lost_or_delivered_again_is_found(claims: ClaimBeliefs) -> None:
    claims.put(4)
    claims.judge([f"w1.c/jobs/jobs/{4:019}"])
    with pytest.raises(AssertionError, match=r"jobs \[4\] are lost"):
        claims.judge([])
    claims.ends(4)
    claims.ended(4)
    claims.judge([])
    with pytest.raises(AssertionError, match="job 4 ends twice"):
        claims.ended(4)
    with pytest.raises(AssertionError, match="job 4 is delivered after its end"):
        claims.taken(client(claims, "one"), 4)
