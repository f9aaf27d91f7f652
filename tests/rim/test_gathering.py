"""How many requests are waited for, and for how long."""

from __future__ import annotations

import pytest

from raftline.node import gathering
from raftline.node.gathering import LONGEST_S, QUIET_S, Gathering


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(gathering, "time", clock)
    return clock


def test_a_lone_request_never_waits(clock: Clock) -> None:
    group = Gathering()
    for _ in range(3):
        group.arrived(1)
        assert group.is_ripe(1)
        group.answered(1)


def test_as_many_as_were_answered_are_waited_for(clock: Clock) -> None:
    group = Gathering()
    group.answered(3)
    for count in (1, 2):
        group.arrived(count)
        assert not group.is_ripe(count)
    group.arrived(3)
    assert group.is_ripe(3)


def test_once_nobody_comes_for_a_while_those_who_are_there_are_served(clock: Clock) -> None:
    group = Gathering()
    group.answered(64)
    group.arrived(1)
    clock.now_s += QUIET_S * 0.9
    group.arrived(2)
    clock.now_s += QUIET_S * 0.9
    assert not group.is_ripe(2)
    assert group.ripe_at_s == pytest.approx(clock.now_s + QUIET_S * 0.1)
    clock.now_s += QUIET_S * 0.2
    assert group.is_ripe(2)


def test_a_group_that_keeps_growing_is_served_all_the_same(clock: Clock) -> None:
    group = Gathering()
    group.answered(1000)
    count = 0
    while not group.is_ripe(count):
        clock.now_s += QUIET_S / 2
        count += 1
        group.arrived(count)
        assert count < 100
    assert count == pytest.approx(1 + 2 * LONGEST_S / QUIET_S, abs=1)
