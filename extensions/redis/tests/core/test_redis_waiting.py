"""The lines of connections that wait for an element of some keys."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.redis.redis_waiting import Waiter, WaitingLines
from raftline.wire.refusal import error

KEYS = "abc"


class Waiting:
    """A waiter of these keys, which counts how often it was woken."""

    def __init__(self, keys: str) -> None:
        self.in_lines = tuple(keys)
        self.is_blocked = False
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


@given(st.lists(st.sets(st.sampled_from(KEYS)).map(sorted).map("".join) | st.integers(0, 9)))
def test_a_leaving_waiter_wakes_each_that_is_first_now(acts: list[str | int]) -> None:
    """A text joins the lines of its keys; a number leaves."""
    lines, there = WaitingLines(), list[Any]()
    for act in acts:
        if isinstance(act, str):
            there.append(Waiting(act))
            lines.join(there[-1])
            lines.block(there[-1])
        elif there:
            gone = there.pop(act % len(there))
            before = {waiter: waiter.woken for waiter in there}
            lines.leave(gone)
            for waiter in there:
                firsts = [
                    next(each for each in there if key in each.in_lines) is waiter
                    for key in waiter.in_lines
                    if key in gone.in_lines
                ]
                assert waiter.woken - before[waiter] == any(firsts)
        assert lines.count == len(there)
        for key in KEYS:
            line = [waiter for waiter in there if key in waiter.in_lines]
            for waiter in line:
                assert not lines.is_first(waiter) or any(
                    next(each for each in there if own in each.in_lines) is waiter
                    for own in waiter.in_lines
                )
            assert not line or lines.is_first(line[0])


@pytest.mark.parametrize("refused", range(3))
def test_wait_is_refused_if_one_of_its_keys_is_not_watched(refused: int) -> None:
    class Host:
        """A node whose watches of all keys but one begin."""

        calls = watchers = None
        last = 7

        def now_s(self) -> float:
            return 0.0

        def open(self, waiter: object, asked: list[Any]) -> list[list[str]]:
            return [[error("no")] if place == refused else [] for place in range(len(asked))]

    host: Any = Host()
    host.calls = host.watchers = host
    outgoing: Any = None
    waiter = Waiter(WaitingLines(), host, outgoing, KEYS, 1.0, in_line=True)
    assert waiter.begin() == error("no")
