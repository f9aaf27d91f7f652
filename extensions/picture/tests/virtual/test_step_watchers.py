"""Observers of simulated nodes: their lines never go back, and none is sent without a right."""

from __future__ import annotations

import pytest

from raftline.picture.observe import explain
from raftline.picture.observe.facts import Rule, Step
from raftline_testing.virtual.seeds import counts_of, first_failure
from raftline_testing.virtual.watches import onlookers


@pytest.mark.slow
def test_observers_of_simulated_nodes_get_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onlookers, "SHARE", 1.0)
    assert counts_of(0, 3, steps=3000)["lines observed"] > 0


@pytest.mark.slow
@pytest.mark.pure
def test_step_that_cannot_be_explained_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence about each follower of a leader fails in the step that lets one of them go."""

    def tell_of_all(step: Step) -> str:
        return str([step.after.followers[name] for name in step.before.followers])

    leads_on = Rule(lambda step: step.before.leads and step.after.leads, tell_of_all, "§6", "")
    monkeypatch.setattr(explain, "CONSEQUENCES", (*explain.CONSEQUENCES, leads_on))
    monkeypatch.setattr(onlookers, "SHARE", 1.0)
    assert "a step can't be explained: KeyError('s" in first_failure(range(13, 60))
