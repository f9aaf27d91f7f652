"""The machines of workloads: what they send again, and what they record."""

from __future__ import annotations

import random
from collections import Counter
from itertools import count

import pytest

from raftline_testing.workloads.client_history import History
from raftline_testing.workloads.client_machine import ClientMachine
from raftline_testing.workloads.client_request import ClientRequest, formatted
from raftline_testing.workloads.ledger import Ledger
from raftline_testing.workloads.mix import Mix
from raftline_testing.workloads.workload_machine import Answer, Rest, Steps


def client(mix: Mix) -> tuple[ClientMachine, History]:
    history, numbers = History(), count()
    chance = random.Random(1)
    return ClientMachine("c1", mix, chance, lambda: next(numbers), history, Counter()), history


def answered(steps: Steps, answer: Answer) -> ClientRequest | None:
    """Give an answer; return the next request, None if there is no other."""
    try:
        step = steps.send(answer)
        if isinstance(step, Rest):
            step = next(steps)
    except StopIteration:
        return None
    assert isinstance(step, ClientRequest)
    return step


def test_a_lost_numbered_write_is_repeated_under_its_number() -> None:
    machine, history = client(Mix(sessions=1.0))
    steps = machine.asking(machine.request("set", "a", "1"))
    first = formatted(next(steps))
    again = answered(steps, Answer("lost"))
    assert again is not None
    assert formatted(again) == first == "c1#1@set a 1"
    answered(steps, Answer("done", "SET response: a set to 1"))
    [operation] = history.operations
    assert (operation.called_at, operation.returned_at is None) == (0, False)


def test_a_lost_write_without_a_number_has_an_unknown_outcome() -> None:
    machine, history = client(Mix())
    steps = machine.asking(machine.request("set", "a", "1"))
    assert formatted(next(steps)) == "c1@set a 1"
    answered(steps, Answer("lost"))
    assert [one.returned_at for one in history.operations] == [None]


def test_a_stopped_client_gives_up_what_may_have_happened() -> None:
    machine, history = client(Mix(sessions=1.0))
    steps = machine.asking(machine.request("incr", "n"))
    next(steps)
    assert steps.send(Answer("lost")) == Rest(2, is_exact=True)
    machine.stopped = True
    with pytest.raises(StopIteration):
        next(steps)
    assert [one.value for one in history.increments] == [None]


def test_a_repeated_request_must_have_its_first_reply() -> None:
    machine, _ = client(Mix(sessions=1.0))
    request = machine.request("incr", "n")
    request.first_reply = "INCR response: 4"
    steps = machine.asking(request)
    next(steps)
    with pytest.raises(AssertionError, match="first 'INCR response: 4', now INCR response: 5"):
        steps.send(Answer("done", "INCR response: 5"))


def test_a_stale_read_is_not_judged_but_must_be_a_reply() -> None:
    machine, history = client(Mix(ways=("local",)))
    steps = machine.asking(machine.request("get", "a"))
    assert formatted(next(steps)) == "c1@get a read local"
    steps.send(Answer("done", "GET response: 4"))
    assert len(history) == 0
    steps = machine.asking(machine.request("get", "a"))
    next(steps)
    with pytest.raises(AssertionError, match="asked get a and got 'SET response"):
        steps.send(Answer("done", "SET response: a set to 4"))


def test_a_look_at_accounts_with_another_sum_is_an_error() -> None:
    ledger = Ledger("w1.")
    ledger.look([])
    ledger.look([100, "120", 80, 100, 100])
    with pytest.raises(AssertionError, match="not 500"):
        ledger.look([100, 120, 80, 100])
    assert ledger.findings({account: "90" for account in ledger.accounts}) == [
        "the accounts hold [90, 90, 90, 90, 90], not 500"
    ]
