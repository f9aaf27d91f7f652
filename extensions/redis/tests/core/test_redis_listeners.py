"""The judge of the messages that the listeners of a campaign received."""

from __future__ import annotations

import pytest

from raftline.redis.harness.redis_listeners import Message, invented
from raftline_testing.histories.history import Change

CHANGES = [Change("k", "set", 5.0), Change("k", "set", 1.0), Change("k", "del", 2.0)]


@pytest.mark.parametrize(
    ("messages", "unexplained"),
    [
        ([("k", "set", 2.0), ("k", "del", 3.0), ("k", "set", 6.0)], []),
        ([("k", "set", 9.0)], []),
        ([("k", "set", 0.5)], [0]),  # before anybody asked for it
        ([("k", "set", 2.0), ("k", "set", 4.0)], [1]),  # one too many so far
        ([("k", "del", 3.0), ("k", "del", 4.0)], [1]),
        ([("k", "set", 6.0)] * 3, [2]),
        ([("k", "expired", 6.0), ("l", "set", 6.0)], [0, 1]),
    ],
)
def test_each_notification_needs_a_change_that_was_asked_for(
    messages: list[tuple[str, str, float]], unexplained: list[int]
) -> None:
    heard = [Message(*one) for one in messages]
    assert invented(heard, CHANGES) == [f"nobody asked for {heard[n]}" for n in unexplained]
