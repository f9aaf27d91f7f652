"""Recorded nodes of simulated schedules: a fresh core goes the same way, from every segment."""

from __future__ import annotations

from typing import Any

import pytest

from raftline.picture.harness.recorded import MemoryRecorder, recorded
from raftline.raft import state
from raftline.raft.node import RawNode, node_from_disk
from raftline_testing.runner.at_night import in_the_rest
from raftline_testing.virtual.nodes import simulated_node
from raftline_testing.virtual.schedule import run

SEGMENT_STEPS = 200  # so that states of every role begin a segment


def record_schedule(monkeypatch: pytest.MonkeyPatch, seed: int) -> list[MemoryRecorder]:
    """Run a schedule with every node recorded; return the recordings, to be replayed under the
    schedule's own constant."""
    recorders = []
    apply_max = []

    def node_of(*arguments: Any, **options: Any) -> RawNode:
        node, recorder = recorded(node_from_disk(*arguments, **options), SEGMENT_STEPS)
        recorders.append(recorder)
        apply_max.append(state.APPLY_MAX)
        return node

    monkeypatch.setattr(simulated_node, "node_from_disk", node_of)
    run(seed, steps=6000)
    monkeypatch.setattr(state, "APPLY_MAX", apply_max[0])
    return recorders


@pytest.mark.pure
@pytest.mark.parametrize("seed", [0, *map(in_the_rest, range(1, 6))])
def test_every_segment_of_a_schedule_replays_alike(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Every segment of a schedule replays with the same effects."""
    recorders = record_schedule(monkeypatch, seed)
    outcomes = [outcome for recorder in recorders for outcome in recorder.replay()]
    assert [outcome.difference for outcome in outcomes if outcome.difference] == []
    assert sum(outcome.steps for outcome in outcomes) > 250


@pytest.mark.slow
@pytest.mark.pure
def test_a_changed_rule_is_found_at_its_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    recorders = record_schedule(monkeypatch, 3)
    monkeypatch.setattr(state, "APPLY_MAX", 1)
    differences = [one.difference for each in recorders for one in each.replay() if one.difference]
    lost = set(differences[0].recorded) - set(differences[0].replayed)
    assert any(line.startswith("apply ") for line in lost)
