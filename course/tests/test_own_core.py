"""A reader's own raft.py in the lab page: it runs there, and its mistakes are told."""

from __future__ import annotations

import json
from typing import Any

from labs.bugs import play
from raftline.picture.harness.lab.page import Page
from raftline_course.grading.own_core import page_of

LABS = play.HERE.parent
MODEL = LABS.parent / "small" / "raft.py"
TIMEOUTS = "before%20timeouts%20s1%20150%20s2%20400%20s3%20500"


def ask(page: Page, **request: object) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(page.answer(json.dumps(request)))
    return answer


def test_own_core_leads_commits_and_recovers() -> None:
    page = page_of(MODEL.read_text(encoding="utf-8"))
    ask(page, do="open", address=TIMEOUTS)
    ask(page, do="run", until_ms=400)
    ask(page, do="act", act="s1 <- client4@set b 5")
    facts = ask(page, do="run", until_ms=600)
    assert facts["answers"] == ["client4 <- s1@SET response: b set to 5"]
    assert "set b 5" in facts["nodes"]["s3"]["files"]["s3.log"]
    ask(page, do="act", act="crash s1")
    ask(page, do="run", until_ms=2000)
    ask(page, do="act", act="restart s1")
    facts = ask(page, do="run", until_ms=3000)
    assert (facts["broken"], facts["refused"]) == ("", "")
    roles = {event["node"]: event["role"] for event in facts["events"] if event["k"] == "step"}
    assert sorted(roles.values()) == ["follower", "follower", "leader"]
    assert {why[2] for event in facts["events"] for why in event.get("why", ())} == {""}


def test_mistake_of_an_own_core_breaks_a_rule() -> None:
    page = page_of((LABS / "write-raft" / "skeleton" / "raft.py").read_text(encoding="utf-8"))
    facts = ask(page, do="open", address=TIMEOUTS)
    facts = ask(page, do="run", until_ms=5000)
    assert "does not elect a leader" in facts["broken"]


def test_file_that_can_not_be_run_is_told_in_a_sentence() -> None:
    facts = ask(page_of("x = = 1"), do="look")
    assert "SyntaxError: invalid syntax" in facts["broken"]
    facts = ask(page_of("x = 1"), do="look")
    assert "Node" in facts["broken"]


def test_own_core_runs_without_a_bug_of_another_core() -> None:
    """The address of a bug hunt runs the file of the reader, and says so."""
    page = page_of((LABS / "write-raft" / "skeleton" / "raft.py").read_text(encoding="utf-8"))
    facts = ask(page, do="open", address=f"{TIMEOUTS};bug%204")
    assert "bug 4 is one of raftline's own core: your raft.py runs without it" in facts["answers"]
    assert "bug" not in facts["address"]
    facts = ask(page, do="run", until_ms=5000)
    assert facts["broken"]
    assert "fewest_acts" not in facts
