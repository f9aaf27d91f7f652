"""The line about a request that no node has answered yet."""

from __future__ import annotations

import math

import pytest

from raftline.clients.connections.node_connection import SAID_AFTER_S, Deadline


@pytest.mark.parametrize("limit_s", [0.0, 0.5, 30.0])
def test_a_wait_is_said_once_and_only_if_somebody_wants_to_know(limit_s: float) -> None:
    said: list[str] = []
    deadline = Deadline(limit_s, said.append, now=lambda: 100.0)
    assert deadline.notice_s == 100.0 + SAID_AFTER_S
    deadline.notice("waiting for s1")
    assert said == ["No answer yet: waiting for s1"]
    assert deadline.notice_s == math.inf
    silent = Deadline(limit_s, now=lambda: 100.0)
    assert silent.notice_s == math.inf
    silent.notice("waiting for s1")
