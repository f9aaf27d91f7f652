"""The time of a lease as its holder counts it: from the sending, never from the answer. By the
clock of a test, which continues while a request and its answer are under way."""

from __future__ import annotations

from typing import Any, TypeVar

import pytest

from raftline.clients.calls.calls import Ask, Steps
from raftline.clients.calls.kv_errors import LeaseLost
from raftline.clients.connections.node_connection import Unreachable
from raftline.clients.leases.base_lease import BaseLease
from raftline.clients.leases.kept_leases import KeptLeases
from raftline.clients.leases.lease_timer import (
    LEAST_S,
    RENEWALS,
    RETRY_S,
    LeaseTimer,
    clock,
    confirming,
    granting,
    renewing,
)
from raftline.clients.steps import carry_out

Kind = TypeVar("Kind")


class Over:
    def set(self) -> None:
        """Do nothing: nobody waits for the end."""


class ProgramLease(BaseLease[Over]):
    """A lease as an object of a program."""

    def _new_event(self) -> Over:
        return Over()


class Way:
    """A clock, and a cluster whose answers take their time."""

    def __init__(self, *answers: Any, there_s: float = 1.0, back_s: float = 2.0) -> None:
        self.now_s = 100.0
        self.answers = list(answers)
        self.there_s, self.back_s = there_s, back_s
        self.asked: list[tuple[str, float | None]] = []

    def now(self) -> float:
        return self.now_s

    def ask(self, step: Ask) -> object:
        self.asked.append((step.call.command, step.limit_s))
        self.now_s += self.there_s + self.back_s
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def carry_out(self, steps: Steps[Kind]) -> Kind:
        return carry_out(steps, self.ask)


class Held:
    """A lease of nine seconds that was granted by a request sent at 100 s, answered at 103 s."""

    def __init__(self, *answers: Any, back_s: float = 2.0) -> None:
        self.way = Way("lease-57", *answers)
        self.ended: list[LeaseTimer] = []
        self.lease = ProgramLease(None, self, 9, now=self.way.now)
        self.way.carry_out(self.lease._granting())
        timer = self.lease._timer
        assert isinstance(timer, LeaseTimer)
        self.timer = timer
        self.way.back_s = back_s

    # as a keeper

    kept = KeptLeases()
    leaving: set[str] = set()  # noqa: RUF012

    def keep(self, timer: LeaseTimer) -> None:
        """Do nothing: the test renews it."""

    def drop(self, timer: LeaseTimer) -> None:
        self.ended.append(timer)

    def hurry(self, timer: LeaseTimer) -> None:
        """Do nothing."""

    def renew(self, shortest_s: float = 1000.0) -> None:
        self.way.carry_out(renewing(self.timer, self.way.now, shortest_s))

    def until_s(self) -> float:
        return self.timer.until_s


def test_a_lease_is_held_from_its_sending_for_its_time() -> None:
    timer = LeaseTimer("lease-57", 9, sent_s=100.0)
    assert timer.is_held(108.9)
    assert not timer.is_held(109.0)
    assert timer.renew_at_s == 100.0 + 9 / RENEWALS


def test_a_renewal_counts_from_when_it_was_sent() -> None:
    timer = LeaseTimer("lease-57", 9, sent_s=100.0)
    timer.extend(103.0)
    assert timer.until_s == 112.0
    assert timer.renew_at_s == 106.0
    timer.extend(101.0)  # an answer that came late
    assert timer.until_s == 112.0


def test_unanswered_renewal_is_retried_and_extends_nothing() -> None:
    """An unanswered renewal is retried soon, and does not extend the lease."""
    timer = LeaseTimer("lease-57", 9, sent_s=100.0)
    timer.retry_soon(105.0)
    assert timer.renew_at_s == 105.0 + RETRY_S
    assert timer.until_s == 109.0


@pytest.mark.needs("a clock that counts sleep")
def test_a_lease_that_is_over_is_not_held() -> None:
    timer = LeaseTimer("lease-57", 9, sent_s=clock())
    timer.give_up()
    assert not timer.is_held(clock())


def test_a_grant_counts_from_its_sending() -> None:
    held = Held()
    assert held.way.asked == [("lease 9", None)]
    assert held.timer.lease == "lease-57"
    assert held.way.now() == 103.0
    assert (held.until_s(), held.timer.due_s) == (109.0, 103.0)


def test_grant_answered_after_its_time_was_never_held() -> None:
    """A grant whose reply takes as long as the lease was never held."""
    for back_s, is_granted in ((7.99, True), (8.0, False)):
        way = Way("lease-57", back_s=back_s)
        ended: list[Any] = []
        steps = granting(9, ended.append, way.now, LeaseTimer)
        if is_granted:
            assert way.carry_out(steps).is_held(way.now())
        else:
            with pytest.raises(LeaseLost, match="lease-57 was over before its grant arrived"):
                way.carry_out(steps)
        assert ended == []


def test_a_confirmation_and_a_renewal_count_from_their_sending() -> None:
    held = Held(True, True)
    assert held.way.carry_out(confirming(held.timer, held.way.now, 4.5))
    assert held.way.asked[-1] == ("renew lease-57", 4.5)
    assert held.way.now() == 106.0
    assert (held.until_s(), held.timer.due_s) == (112.0, 106.0)
    held.renew()
    assert held.way.now() == 109.0
    assert (held.until_s(), held.timer.due_s) == (115.0, 109.0)
    assert held.ended == []


def test_renewal_answered_after_its_time_is_not_a_renewal() -> None:
    """A renewal whose reply takes as long as the lease does not count."""
    held = Held(True, back_s=8.0)  # sent at 103 s, so it holds until 112 s; known at 112 s
    held.renew()
    assert held.timer.was_lost
    assert held.ended == [held.timer]
    held = Held(True, back_s=7.99)
    held.renew()
    assert held.timer.is_held(held.way.now())


@pytest.mark.parametrize(
    ("seconds", "past_s", "shortest_s", "limit_s"),
    [
        (9, 3.0, 1000, 3.0),  # a third of its time
        (9, 3.0, 9, 3.0),
        (300, 100.0, 5, 5 / 3),  # so a lease of five seconds is asked for in time
        (300, 299.0, 1000, 1.0),  # what is left
        (9, 8.99, 9, LEAST_S),
        (9, 9.0, 9, None),
        (9, 10.0, 9, None),
    ],
)
def test_renewal_may_use_a_third_of_the_shortest_ttl(
    seconds: int, past_s: float, shortest_s: float, limit_s: float | None
) -> None:
    """One renewal may take up to a third of the shortest TTL."""
    timer = LeaseTimer("lease-57", seconds, sent_s=100.0)
    assert timer.limit_s(100.0 + past_s, shortest_s) == pytest.approx(limit_s)


def test_a_renewal_is_asked_within_its_limit() -> None:
    held = Held(True, True)
    held.renew()
    held.renew(shortest_s=2.0)
    assert [limit_s for _, limit_s in held.way.asked[1:]] == [3.0, pytest.approx(2 / 3)]


@pytest.mark.parametrize("failure", [Unreachable("nobody answers"), ConnectionError("away")])
def test_lease_with_failing_renewals_is_held_for_its_time(failure: Exception) -> None:
    """A lease whose renewals fail is held until it expires."""
    held = Held(failure, back_s=0.0)
    held.renew()  # answered at 104 s
    assert held.timer.due_s == 104.0 + RETRY_S
    assert (held.until_s(), held.ended) == (109.0, [])
    held.timer.retry_soon(108.9)
    assert held.timer.due_s == 109.0  # to see that it is lost
    held.way.now_s = 109.0
    held.renew()
    assert held.way.asked[-1][0] == "renew lease-57"
    assert len(held.way.asked) == 2  # none was sent when its time was over
    assert held.timer.was_lost
    assert held.ended == [held.timer]


def test_a_renewal_hides_no_error_of_this_program() -> None:
    held = Held(ValueError("of this program"), back_s=0.0)
    with pytest.raises(ValueError, match="of this program"):
        held.renew()
    assert held.timer.is_held(held.way.now())


def test_a_lease_that_the_cluster_does_not_know_is_lost_once() -> None:
    held = Held(False, False)
    held.renew()
    assert held.timer.was_lost
    held.renew()
    held.timer.lose()
    held.timer.give_up()
    assert held.timer.was_lost
    assert held.ended == [held.timer]
    assert len(held.way.asked) == 2


def test_a_lease_that_is_released_amid_a_renewal_is_not_lost() -> None:
    held = Held(0, back_s=0.0)
    steps = renewing(held.timer, held.way.now)
    next(steps)
    assert held.way.carry_out(held.lease._releasing()) == 0
    with pytest.raises(StopIteration):
        steps.send(False)  # the cluster knows it no more
    assert not held.timer.was_lost
    assert held.ended == [held.timer]


@pytest.mark.parametrize(("deleted", "past_s"), [(None, 0.0), (2, 6.0)])
def test_a_release_of_what_had_ended_reports_that(deleted: int | None, past_s: float) -> None:
    held = Held(deleted)
    held.way.now_s += past_s
    with pytest.raises(LeaseLost, match="lease-57 has ended"):
        held.way.carry_out(held.lease._releasing())
    assert held.way.asked[-1][0] == "release lease-57"


def test_a_release_that_takes_long_was_one_of_what_was_held() -> None:
    held = Held(2, back_s=100.0)
    assert held.way.carry_out(held.lease._releasing()) == 2
    assert not held.timer.was_lost
