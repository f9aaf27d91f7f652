"""A network that loses most of what is sent: slow, but there is progress, and nothing breaks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftline_testing.virtual import schedule_key
from raftline_testing.virtual.schedule import run

pick_plan = schedule_key.pick_plan


@pytest.mark.parametrize(
    "loss", [0.6, *(pytest.param(loss, marks=pytest.mark.slow) for loss in (0.1, 0.3))]
)
def test_with_so_many_messages_lost_clients_are_still_served(
    monkeypatch: pytest.MonkeyPatch, loss: float
) -> None:
    monkeypatch.setattr(
        schedule_key, "pick_plan", lambda *given: replace(pick_plan(*given), loss=loss, delay_ms=10)
    )
    outcome = run(3000, nodes=3, steps=20_000, faults=["heal"])
    assert outcome.counts["messages lost"] > loss / 2 * outcome.counts["messages sent"]
    assert outcome.counts["elections won"] >= 1
    assert outcome.counts["operations answered"] > 20
