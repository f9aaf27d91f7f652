"""Schedules of the grader in the lab page: each fails there as it did in the grader."""

from __future__ import annotations

import json
from typing import Any

import pytest

from labs.solutions.model import evenings_copy
from raftline.picture.harness.lab.page import Page
from raftline_course.grading.isolation.servers import Nursery
from raftline_course.grading.judging import reason_of
from raftline_course.grading.own_core import page_of
from raftline_course.grading.runs import Stage, seeded
from raftline_course.grading.selftests.cheats import CHEATS, MISTAKES

MODEL = evenings_copy()["raft.py"]
FILES = {one.name: one.files()["raft.py"] for one in (*CHEATS, *MISTAKES)}


def ask(page: Page, **request: object) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(page.answer(json.dumps(request)))
    return answer


def reason_in_grader(source: str, seed: int, salt: str = "") -> str:
    run = seeded(seed, salt)
    assert run is not None
    with Nursery({"raft.py": source}) as nursery, nursery.run() as servers:
        try:
            run.perform(servers, Stage())
        except Exception as error:
            return reason_of(error)
    return ""


@pytest.mark.parametrize(
    ("mistake", "seed", "salt"),
    [
        ("a leader sends heartbeats all the time", 2000, ""),  # a quiet cluster
        ("an earlier term's entry is committed by counting", 7001, ""),  # Figure 8
        ("the log is cut at each message", 6004, "autumn & 2026"),  # faults
    ],
)
def test_failed_schedule_opens_at_its_failed_step(mistake: str, seed: int, salt: str) -> None:
    source = FILES[mistake]
    run = seeded(seed, salt)
    assert run is not None
    page = page_of(source)
    facts = ask(page, do="open", address=run.address)
    assert facts["broken"] == reason_in_grader(source, seed, salt) != ""
    broken = [why for one in facts["events"] for why in one.get("why", ()) if why[3]]
    assert broken
    moment = facts["address"]
    before = ask(page, do="back")
    assert before["broken"] == ""
    assert before["moment"] < facts["moment"]
    assert ask(page, do="open", address=before["address"])["moment"] == before["moment"]
    again = ask(page, do="open", address=moment)
    assert (again["broken"], again["nodes"]) == (facts["broken"], facts["nodes"])


def test_situation_shows_its_transcript_and_passes() -> None:
    page = page_of(MODEL)
    facts = ask(page, do="open", address="grade=7001&at=1")
    assert facts["nodes"]
    assert facts["broken"] == ""
    assert any(line.startswith("> start ") for line in facts["answers"])
    answers = list(facts["answers"])
    while ask(page, do="look")["next_ms"] is not None:
        answers += ask(page, do="run", until_ms=10**6)["answers"]
    assert answers[-1] == "seed 7001 passed"
    assert "its seed decides" in ask(page, do="act", act="heal")["problem"]


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("grade=99001", "not a schedule of the grader: grade=99001"),
        ("grade=7001&at=x", "not a schedule of the grader: grade=7001&at=x"),
        ("grade=7001&bug=1", "not a schedule of the grader: grade=7001&bug=1"),
        ("grade=9002", "seed 9002 tests the state machine alone; no server runs"),
    ],
)
def test_address_that_is_not_a_schedule_is_told(address: str, problem: str) -> None:
    assert ask(page_of(MODEL), do="open", address=address)["problem"] == problem


def test_page_without_a_hand_in_asks_for_it() -> None:
    problem = ask(Page(), do="open", address="grade=7001")["problem"]
    assert "needs a hand-in: press raft.py" in problem
