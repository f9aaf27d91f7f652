"""A schedule of the simulation in the lab: it fails there at the step at which it failed here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from raftline.picture.harness.lab.page import Page
from raftline.picture.harness.lab.simulated import SimulatedRun
from raftline.picture.harness.lab.sources import packed
from raftline.raft.state import State
from raftline_testing.virtual import schedule
from raftline_testing.virtual.schedule import SimulationFailed, run
from raftline_testing.virtual.schedule_key import ScheduleKey, WrongKey, key_in


def counts_itself_too_early(state: State) -> None:
    if state.log.last_term == state.term:
        state.advance_commit_index(state.log.last_index)


def ask(page: Page, **request: object) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(page.answer(json.dumps(request)))
    return answer


def failure(seed: int, nodes: int) -> str:
    with pytest.raises(SimulationFailed) as failed:
        run(seed, nodes=nodes, steps=2000)
    return str(failed.value)


def address_in(text: str) -> str:
    told = r"^step through it: python3 src/cli\.py learn, and open \S+lab\.html#(\S+)$"
    match = re.search(told, text, re.M)
    assert match is not None, text
    return match[1]


@pytest.mark.pure
def test_failed_schedule_opens_the_lab_at_the_breaking_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Failed schedule opens in the lab at the step that broke the rule."""
    monkeypatch.setattr("raftline.raft.node.advance_commit", counts_itself_too_early)
    text = failure(7, nodes=3)
    page = Page()
    facts = ask(page, do="open", address=address_in(text))
    rule, _, words = facts["broken"].partition("): ")
    assert "§5.4.2" in rule
    assert words in text.splitlines()[0]
    assert any("broken" in event.get("tags", ()) for event in facts["events"])
    assert not ask(page, do="step")["happened"]
    before = ask(page, do="back")
    assert before["broken"] == ""
    assert before["moment"] < facts["moment"]
    assert ask(page, do="step")["broken"] == facts["broken"]
    assert "its seed decides" in ask(page, do="act", act="crash s1")["problem"]
    assert ask(page, do="open", address="seed%201")["broken"] == ""


@pytest.mark.pure
def test_failed_verdict_on_answers_shows_after_the_last_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Failed verdict on the answers is shown after the last event."""

    def refuse(self: schedule.Schedule) -> None:
        raise AssertionError("the history of a is not linearizable")

    monkeypatch.setattr(schedule.Schedule, "judge", refuse)
    facts = ask(Page(), do="open", address=address_in(failure(7, nodes=3)))
    assert facts["broken"] == "linearizability (§8): the history of a is not linearizable"


def test_schedule_has_the_same_events_in_the_lab() -> None:
    outcome = run(5, nodes=3, steps=1000)
    shown = SimulatedRun(ScheduleKey(5, 3, 1000))
    shown.go_to((10**6, 0))
    assert (shown.broken, shown.moment) == ("", (outcome.events, 0))
    assert shown.world.now_ms == outcome.virtual_ms
    assert dict(shown.world.counts) == dict(outcome.counts)
    assert any("heal everything" in line for line in shown.facts()["answers"])
    assert not shown.step()


def test_schedule_of_sources_that_the_lab_lacks_has_no_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(schedule, "LAB_BUG", None)
    assert schedule._in_lab(ScheduleKey(1), 5) == ""
    monkeypatch.setattr(schedule, "LAB_BUG", 6)
    assert schedule._in_lab(ScheduleKey(1), 5).endswith("#sim=1&bug=6&at=6\n")


def test_address_holds_the_seed_and_the_options() -> None:
    key = ScheduleKey(8, 5, 100, ("lose log", "isolate"), 2)
    assert key_in(key.address(77, 3)) == (key, 77, 3)
    assert key_in("sim=8") == (ScheduleKey(8), 0, 0)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("sim=x", "not a part of a schedule's address: sim=x"),
        ("sim=", "not a part of a schedule's address: sim="),
        ("sim=1&speed=2", "not a part of a schedule's address: speed=2"),
        ("sim=1&nodes=0", "a schedule has 1 to 9 nodes, not 0"),
        ("sim=1&nodes=99", "a schedule has 1 to 9 nodes, not 99"),
        ("sim=1&fault=flood", "there is no fault 'flood'"),
    ],
)
def test_address_that_names_no_schedule_is_refused(address: str, why: str) -> None:
    with pytest.raises(WrongKey, match=re.escape(why)):
        key_in(address)
    assert ask(Page(), do="open", address=address)["problem"] == why


BOOTED = """
import json, sys
import boot
print(boot.Booted().answer(sys.stdin.read()))
"""


@pytest.mark.slow
def test_sources_of_the_page_play_the_schedule_of_the_clone(tmp_path: Path) -> None:
    """Each extension has its part in a schedule, so the page needs them all."""
    zipfile.ZipFile(BytesIO(packed())).extractall(tmp_path)
    asked = json.dumps({"do": "open", "address": "sim=1&nodes=3&at=900"})
    command = [sys.executable, "-S", "-c", BOOTED]
    env = {"PYTHONPATH": str(tmp_path)}
    ran = subprocess.run(command, input=asked, env=env, capture_output=True, text=True, check=True)
    there, here = json.loads(ran.stdout), json.loads(Page().answer(asked))
    assert len(here["events"]) > 100
    assert there["events"] == here["events"]
