"""The time of a lease as its holder counts it: from the sending, never from the answer. By the
clock of a test, which continues while a request and its answer are under way."""

from __future__ import annotations

import contextlib
import random
from typing import Any, TypeVar

import pytest

from raftline.clients.calls.calls import Ask, Steps
from raftline.clients.calls.kv_errors import LeaseLost
from raftline.clients.connections.node_connection import Unreachable
from raftline.clients.leases.base_lease import BaseLease
from raftline.clients.leases.kept_leases import KeptLeases
from raftline.clients.leases.lease_timer import (
    LEAST_S,
    RETRY_S,
    LeaseTimer,
    confirming,
    renewing,
)
from raftline.clients.steps import carry_out
from raftline_testing.runner.at_night import for_seeds

Kind = TypeVar("Kind")
FAILURES = (Unreachable("nobody answers"), ConnectionError("away"))


class Over:
    def set(self) -> None:
        """Do nothing: nobody waits for the end."""


class ProgramLease(BaseLease[Over]):
    """A lease as an object of a program."""

    def _new_event(self) -> Over:
        return Over()


class Way:
    """A clock, and a cluster whose answers take their time."""

    def __init__(self, there_s: float, back_s: float, *answers: Any) -> None:
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
    """A lease that was granted by the first answer."""

    def __init__(self, way: Way, seconds: float = 9) -> None:
        self.way = way
        self.ended: list[LeaseTimer] = []
        self.lease = ProgramLease(None, self, seconds, now=self.way.now)
        self.way.carry_out(self.lease._granting())
        timer = self.lease._timer
        assert isinstance(timer, LeaseTimer)
        self.timer = timer

    # as a keeper

    kept = KeptLeases()
    leaving: set[str] = set()  # noqa: RUF012

    def keep(self, timer: LeaseTimer) -> None:
        """Do nothing: the test renews it."""

    def drop(self, timer: LeaseTimer) -> None:
        self.ended.append(timer)

    def hurry(self, timer: LeaseTimer) -> None:
        """Do nothing."""


class Model:
    """A lease lasts its time from the sending of the last request that was answered, unless it was
    lost or released."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.seconds = chance.choice([3, 9, 30])
        self.way = Way(*self.trip(), "lease-57")
        self.until_s = self.way.now_s + self.seconds
        self.due_s = self.way.now_s + self.seconds / 3
        self.is_over = self.was_lost = False

    def trip(self) -> tuple[float, float]:
        """Return how long a request and its answer take: often exactly the time of a lease."""
        return self.chance.choice([0, 1, 2]), self.chance.choice([0, 1, 2, 8, 29])

    @property
    def is_held(self) -> bool:
        return not self.is_over and self.way.now_s < self.until_s

    def end(self, *, was_lost: bool) -> None:
        self.is_over, self.was_lost = True, self.was_lost or (was_lost and not self.is_over)

    def asks(self, steps: Steps[Kind], answer: Any, line: str, limit_s: float | None) -> Kind:
        """Carry out steps that send this line, which is answered so."""
        before = len(self.way.asked)
        self.way.answers, (self.way.there_s, self.way.back_s) = [answer], self.trip()
        try:
            return self.way.carry_out(steps)
        finally:
            assert self.way.asked[before:] == [(line, limit_s)]

    def renewed(self, sent_s: float, answer: object) -> None:
        """Take the answer to a renewal."""
        if answer is True:
            self.until_s, self.due_s = sent_s + self.seconds, sent_s + self.seconds / 3
        if answer is False or not self.is_held:
            self.end(was_lost=True)

    def act(self, held: Held) -> None:
        timer, way, sent_s = held.timer, self.way, self.way.now_s
        answer = self.chance.choice([True, True, True, False, *FAILURES])
        match self.chance.choice(["wait", "renew", "renew", "renew", "confirm", "release"]):
            case "wait":
                way.now_s += self.chance.choice([0.5, 1, 3, 8])
            case "renew" if self.is_held:
                limit_s = timer.limit_s(sent_s, 6)
                self.asks(renewing(timer, way.now, 6), answer, "renew lease-57", limit_s)
                if answer in FAILURES:
                    self.due_s = way.now_s + RETRY_S
                else:
                    self.renewed(sent_s, answer)
            case "renew":
                way.carry_out(renewing(timer, way.now))  # sends nothing
                self.end(was_lost=True)
            case "confirm" if not self.is_over:
                away = pytest.raises(OSError, match=r"nobody answers|away")
                with away if answer in FAILURES else contextlib.nullcontext():
                    steps = confirming(timer, way.now, 4.5)
                    is_held = self.asks(steps, answer, "renew lease-57", 4.5)
                    self.renewed(sent_s, answer)
                    assert is_held is self.is_held
            case "release" if self.chance.random() < 0.2:
                self.release(held)

    def release(self, held: Held) -> None:
        deleted, was_over, is_sure = self.chance.choice([None, 0, 2]), self.is_over, self.is_held
        self.end(was_lost=False)
        steps = held.lease._releasing()
        is_done = is_sure and deleted is not None
        with contextlib.nullcontext() if is_done else pytest.raises(LeaseLost, match="has ended"):
            if was_over:
                self.way.carry_out(steps)
            else:
                assert self.asks(steps, deleted, "release lease-57", None) == deleted

    def check(self, held: Held) -> None:
        timer, now_s = held.timer, self.way.now_s
        assert (timer.is_over, timer.was_lost) == (self.is_over, self.was_lost)
        assert (timer.until_s, timer.due_s) == (self.until_s, min(self.due_s, self.until_s))
        assert (timer.is_held(now_s), held.lease.is_held) == (self.is_held, self.is_held)
        assert held.lease.left == (self.until_s - now_s if self.is_held else 0.0)
        assert held.ended == [timer] * self.is_over


@for_seeds(200, 5000)
def test_lease_lasts_from_the_sending_of_what_was_answered(seed: int) -> None:
    model = Model(random.Random(seed))
    if not model.way.there_s + model.way.back_s < model.seconds:
        with pytest.raises(LeaseLost, match="lease-57 was over before its grant arrived"):
            Held(model.way, model.seconds)
        return
    held = Held(model.way, model.seconds)
    assert model.way.asked == [(f"lease {model.seconds}", None)]
    for _ in range(12):
        model.check(held)
        model.act(held)


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


def test_a_renewal_hides_no_error_of_this_program() -> None:
    held = Held(Way(1, 2, "lease-57", ValueError("of this program")))
    with pytest.raises(ValueError, match="of this program"):
        held.way.carry_out(renewing(held.timer, held.way.now))
    assert held.timer.is_held(held.way.now())


def test_a_lease_that_is_released_amid_a_renewal_is_not_lost() -> None:
    held = Held(Way(1, 2, "lease-57", 0))
    steps = renewing(held.timer, held.way.now)
    next(steps)
    assert held.way.carry_out(held.lease._releasing()) == 0
    with pytest.raises(StopIteration):
        steps.send(False)  # the cluster knows it no more
    assert not held.timer.was_lost
    assert held.ended == [held.timer]
