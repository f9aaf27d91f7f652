"""A double barrier when requests fail during an `enter`."""

from __future__ import annotations

import threading

import pytest

from raftline.clients.connections.node_connection import (
    ClientError,
    NoLeader,
    OutcomeUnknown,
    Unreachable,
)
from raftline.recipes.groups.barrier import DoubleBarrier, Entered
from raftline.recipes.groups.barrier_steps import BarrierKeys
from raftline.recipes.locks import claims
from raftline.recipes.tests.rim.lock_cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S

KEYS = BarrierKeys("step", 2)


def step(cluster: Cluster) -> DoubleBarrier:
    return DoubleBarrier(cluster, cluster.keeper, cluster.watch, KEYS, 10)


@pytest.mark.parametrize("error", [Unreachable, NoLeader, OutcomeUnknown])
@pytest.mark.parametrize(
    ("point", "request_number"),
    [("after", 2), ("before", 3), ("after", 3), ("before", 4), ("after", 4)],
)
def test_a_program_enters_a_round_that_passed_during_its_outage(
    monkeypatch: pytest.MonkeyPatch, error: type[ClientError], point: str, request_number: int
) -> None:
    """The first program is in line: its request 2 was the `hold`, with the others it looks at its
    place. As one of them fails, the other program enters and leaves."""
    monkeypatch.setattr(claims, "LONGEST_PAUSE_S", 0.0)
    monkeypatch.setattr(claims, "CHECK_S", 0.0)
    cluster, asked = Cluster(), 0
    cluster.was_served = True
    entered: list[Entered | None] = []

    def fails(command: str) -> None:
        nonlocal asked
        asked += threading.current_thread() is waiter
        if threading.current_thread() is waiter and asked == request_number:
            other = step(cluster).enter()
            assert other is not None
            other.release()
            raise error("no answer")

    waiter = threading.Thread(target=lambda: entered.append(step(cluster).enter()), daemon=True)
    setattr(cluster, point, fails)
    waiter.start()
    waiter.join(DEADLINE_S)
    assert [held is not None and held.leave() for held in entered] == [True]
    assert cluster.keys() == {}
