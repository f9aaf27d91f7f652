"""The picture of a simulated schedule: each step of each node has a reason, and nothing changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftline.picture.harness.judging.collected import STEPS_MAX, Collector
from raftline.picture.harness.saved_page import held
from raftline.raft.state import State
from raftline_testing.runner.at_night import in_the_rest
from raftline_testing.virtual.drawing import run_or_draw
from raftline_testing.virtual.schedule import SimulationFailed, run


@pytest.mark.parametrize("seed", [23, in_the_rest(26)])
def test_each_step_of_a_schedule_has_a_reason_and_messages_meet(seed: int) -> None:
    collector = Collector()
    assert run(seed, collector=collector) == run(seed)
    data = held(collector.page(f"seed {seed}"))
    steps = [event for event in data["events"] if event["k"] == "step"]
    assert 200 < len(steps) <= STEPS_MAX
    assert all(step["why"] and step["why"][0][0] for step in steps)
    assert {tag for step in steps for tag in step["tags"]} == {
        "election",
        "vote",
        "conflict",
        "commit",
    }
    sent = {event["id"]: event for event in data["events"] if event["k"] == "message"}
    arrived = [event for event in data["events"] if event["k"] == "arrive"]
    assert len(arrived) > 100
    assert all(event["at"] >= sent[event["id"]]["at"] for event in arrived)


@pytest.mark.slow
def test_long_schedule_shows_its_end_with_earlier_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long schedule, the end is shown, with the logs before it."""
    collector, whole = Collector(), Collector()
    run(7, collector=collector)
    run(7, collector=whole)
    monkeypatch.setattr("raftline.picture.harness.judging.collected.STEPS_MAX", 50)
    data, all_of_it = held(collector.page("end")), held(whole.page("end"))
    assert data["left_out"] == all_of_it["left_out"] > 0
    steps = [event for event in data["events"] if event["k"] == "step"]
    assert 0 < len(steps) <= 50
    begun = {event["node"]: event["state"] for event in data["events"] if event["k"] == "begin"}
    first = steps[0]
    assert begun[first["node"]]["term"] <= first["term"]
    assert begun[first["node"]]["log"]


@pytest.mark.pure
def test_failed_schedule_is_drawn_and_names_its_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A schedule that fails is drawn and the failure names the page."""

    def counts_itself_too_early(state: State) -> None:
        if state.log.last_term == state.term:
            state.advance_commit_index(state.log.last_index)

    monkeypatch.setattr("raftline.raft.node.advance_commit", counts_itself_too_early)
    with pytest.raises(SimulationFailed) as failed:
        run_or_draw(7, nodes=3, steps=2000, folder=tmp_path)
    page = tmp_path / "seed-7.html"
    assert str(failed.value).splitlines()[-1] == f"the picture: {page}"
    steps = [one for one in held(page.read_text("utf-8"))["events"] if one["k"] == "step"]
    assert any("I lead" in step["why"][0][0] for step in steps)


@pytest.mark.slow
def test_virtual_steps_have_distinct_places_and_no_offset() -> None:
    """In virtual time each step has a place of its own and no clock is solved."""
    collector = Collector(one_clock=True)
    run(7, steps=300, collector=collector)
    data = held(collector.page("seed 7"))
    times = [one["at"] for one in data["events"] if one["k"] in ("step", "begin")]
    assert len(set(times)) == len(times)
    assert set(data["offsets"].values()) == {0.0}
