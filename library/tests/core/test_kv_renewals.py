"""The leases of a client, its claims under them, and its gates: whatever it does in any order, they
are those of small models, which are lists."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable

import pytest

from raftline.clients.calls.calls import CALLS, Call
from raftline.clients.leases.gates import Gates, GateTurn
from raftline.clients.leases.kept_leases import UNUSED_S, ClaimTimer, KeptLease, KeptLeases
from raftline.clients.leases.lease_timer import RENEWALS, RETRY_S, LeaseTimer, closing
from raftline.clients.leases.renewals import Renewals
from raftline_testing.runner.at_night import at_night

SEEDS = pytest.mark.parametrize(("first", "count"), [(0, 40), *at_night((40, 4000))])


class InOrder:
    """Renewals of leases, and those that wait for their renewal."""

    def __init__(self, chance: random.Random) -> None:
        self.chance, self.now_s = chance, 100.0
        self.renewals = Renewals()
        self.kept: list[LeaseTimer] = []
        self.queued: list[LeaseTimer] = []

    def act(self) -> None:
        renewals, one = self.renewals, self.chance.choice(self.kept) if self.kept else None
        self.now_s += self.chance.choice([0, 0, 0.25, 1, 5])
        match self.chance.choice(
            ["add", "take", "take", "extend", "retry", "drop", "program", "all"]
        ):
            case "add":
                timer = LeaseTimer("lease-1", self.chance.choice([3, 9, 30]), self.now_s)
                renewals.add(timer)
                self.kept.append(timer)
                self.queued.append(timer)
            case "take":
                self.take()
            case "extend" if one:
                one.extend(self.now_s)
                self.put_back(one)
            case "retry" if one:
                one.retry_soon(self.now_s)
                self.put_back(one)
            case "program" if one:
                one.is_renewed = False
            case "drop" if one:
                for _ in range(2):
                    renewals.drop(one)
                self.kept.remove(one)
                self.queued = [each for each in self.queued if each is not one]
                self.put_back(one)
            case "all" if self.chance.random() < 0.1:
                assert renewals.drop_all() == self.kept
                self.kept, self.queued = [], []
        assert (len(renewals), bool(renewals)) == (len(self.kept), bool(self.kept))
        assert renewals.shortest_s == min([each.seconds for each in self.kept], default=math.inf)
        assert renewals.due_s <= min([each.due_s for each in self.queued], default=math.inf)

    def put_back(self, timer: LeaseTimer) -> None:
        self.renewals.put_back(timer)
        if timer in self.kept and timer not in self.queued:
            self.queued.append(timer)

    def take(self) -> None:
        """The due lease that would be lost first is renewed first."""
        taken = self.renewals.take(self.now_s)
        due = [each for each in self.queued if each.due_s <= self.now_s]
        assert (taken in due) if due else taken is None
        if taken is not None:
            assert taken.until_s == min(each.until_s for each in due)
            self.queued.remove(taken)
        elif self.queued:
            assert self.renewals.due_s > self.now_s


@SEEDS
def test_renewals_are_in_the_order_of_expiry(first: int, count: int) -> None:
    for seed in range(first, first + count):
        order = InOrder(random.Random(seed))
        for _ in range(40):
            order.act()


def giving_up(name: str, is_in_doubt: bool) -> Call[int | None]:
    return Call(f"abandon {name}{' in doubt' * is_in_doubt}", CALLS.release("lease-1").read)


class Claims:
    """A kept lease with its claims: what each has asked for, and whether that is in doubt."""

    def __init__(self, chance: random.Random) -> None:
        self.chance, self.now_s, self.unused_since_s = chance, 0.0, 0.0
        self.ended: list[object] = []
        self.kept = KeptLease("lease-1", 30, 0.0, self.ended.append)
        self.claims: dict[ClaimTimer, list[bool]] = {}  # asked, asking, in doubt
        self.again: dict[str, bool] = {}
        self.numbers = 0

    def act(self) -> None:
        one = self.chance.choice([*self.claims]) if self.claims else None
        self.now_s += self.chance.choice([0, 1, 15])
        match self.chance.choice(
            ["claim", "ask", "ask", "answer", "win", "drop", "expect", "retire"]
        ):
            case "claim":
                claim = self.kept.new_claim(giving_up, self.ended.append)
                assert claim is not None
                self.numbers += 1
                assert (claim.name, claim.number) == (f"lease-1/{self.numbers}", self.numbers)
                assert claim.is_waiting
                self.claims[claim] = [False] * 3
            case "ask" if one:
                asked = self.claims[one]
                one.begin_request()
                self.claims[one] = [True, True, asked[2] or asked[1]]
            case "answer" if one and self.claims[one][1]:
                one.end_request()
                self.claims[one][1] = False
            case "win" if one:
                one.is_waiting = False
            case "drop" if one:
                one.give_up()
                self.kept.drop(one, self.now_s)
                del self.claims[one]
                self.ended.remove(one)
                same = self.kept.new_claim(giving_up, self.ended.append, one.number)
                assert same is not None
                assert same.name == one.name
                assert one.is_held(self.now_s) is False
                self.kept.drop(same, self.now_s)
                self.unused_since_s = self.now_s
            case "expect":
                command, again = f"abandon {self.chance.randint(1, 3)}", self.chance.random() < 0.5
                self.kept.expect_answer(command, again=again)
                self.again[command] = again
                if self.chance.random() < 0.5:
                    self.kept.answered(command)
                    del self.again[command]
            case "retire":
                self.retire()
        self.look()

    def retire(self) -> None:
        is_unused = not self.claims and self.now_s >= self.unused_since_s + UNUSED_S
        assert self.kept.retires(self.now_s) is is_unused
        if is_unused:
            assert self.ended == [self.kept]
            assert self.kept.new_claim(giving_up, self.ended.append) is None
            assert not self.kept.retires(self.now_s)
            self.__init__(self.chance)  # type: ignore[misc]

    def look(self) -> None:
        kept, until_s = self.kept, self.kept.sent_s + 30
        assert kept.is_fresh(self.now_s) is (self.now_s < kept.sent_s + 30 / RENEWALS)
        assert kept.unanswered() == [command for command, again in self.again.items() if again]
        for claim, (asked, asking, doubt) in self.claims.items():
            assert (claim.until_s, claim.is_held(self.now_s)) == (until_s, self.now_s < until_s)
            assert claim.give_back.command == giving_up(claim.name, doubt).command
            taken_back = giving_up(claim.name, doubt or asking).command if asked else ""
            assert claim.take_back == taken_back
        if self.now_s > until_s - 5:
            kept.extend(self.now_s)

    def end(self) -> None:
        """The lease is lost, or its client closes: all claims are over, each once."""
        claims, was_lost = [*self.claims], self.chance.random() < 0.5
        if was_lost:
            self.kept.lose()
        else:
            waiting = [claim for claim in claims if claim.is_waiting]
            expected = [claim.take_back for claim in waiting if claim.take_back] + [*self.again]
            if len(waiting) == len(claims):
                expected = [CALLS.release("lease-1").command]
            assert closing([self.kept], {"left"}) == [*dict.fromkeys([*expected, "left"])]
        self.kept.give_up()
        assert {*self.ended} == {self.kept, *claims}
        assert len(self.ended) == len(claims) + 1
        assert all(one.was_lost is was_lost and one.is_over for one in (self.kept, *claims))
        self.kept.extend(self.now_s)
        assert not any(claim.is_held(self.now_s) for claim in claims)
        assert not self.kept.is_fresh(self.now_s)


@SEEDS
def test_claims_end_with_their_lease_and_leave_nothing(first: int, count: int) -> None:
    for seed in range(first, first + count):
        claims = Claims(random.Random(seed))
        for _ in range(30):
            claims.act()
        claims.end()


class AtGates:
    """Callers at gates: each is admitted once, in order, and never more than the limit."""

    def __init__(self, chance: random.Random) -> None:
        self.chance, self.gates = chance, Gates()
        self.lines: dict[tuple[str, int], list[GateTurn]] = {}
        self.woken: list[GateTurn] = []

    def wake(self, turn: GateTurn) -> Callable[[], None]:
        return lambda: self.woken.append(turn)

    def act(self) -> None:
        line = self.lines.setdefault((self.chance.choice("ab"), self.chance.choice([1, 2])), [])
        match self.chance.choice(["line up", "line up", "leave", "leave"]):
            case "line up":
                gate = next(gate for gate, its in self.lines.items() if its is line)
                line.append(self.gates.line_up(*gate))
                line[-1].when_admitted(self.wake(line[-1]))
            case "leave" if line:
                turn = line.pop(self.chance.randrange(len(line)))
                for _ in range(2):
                    turn.leave()
        for (_, limit), its in self.lines.items():
            assert [each.is_admitted for each in its] == [
                place < limit for place in range(len(its))
            ]
            assert all((each in self.woken) is each.is_admitted for each in its)


@SEEDS
def test_gates_admit_callers_in_their_order(
    first: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forked child begins with empty gates and without leases, and leaves nothing of its
    parent's."""
    for seed in range(first, first + count):
        callers, kept = AtGates(random.Random(seed)), KeptLeases()
        lease, other = (KeptLease("lease-1", 30, 0.0) for _ in range(2))
        for _ in range(30):
            callers.act()
        kept.add(lease)
        kept.drop(other)
        assert (kept.get(30), kept.get(10)) == (lease, None)
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: -1)
            turn = next((its[0] for its in callers.lines.values() if its), None)
            if turn is not None:
                turn.leave()
            assert callers.gates.line_up("a", 1).is_admitted
            assert not callers.gates.line_up("a", 1).is_admitted
            assert kept.get(30) is None


def test_renewal_without_an_answer_is_soon_due_again() -> None:
    timer = LeaseTimer("lease-1", 9, 0.0)
    timer.retry_soon(3.0)
    assert timer.due_s == 3.0 + RETRY_S
    timer.retry_soon(8.9)
    assert timer.due_s == 9.0
