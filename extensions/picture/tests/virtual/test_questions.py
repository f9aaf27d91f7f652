"""The questions of docs/learn/questions.html: each address opens at its moment, and the run gives
the answer."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest

from raftline.picture.harness.lab import questions_page
from raftline.picture.harness.lab.page import Page
from raftline.picture.harness.lab.questions import QUESTIONS, Question
from raftline.picture.harness.lab.sources import ROOT
from raftline_testing.runner.at_night import in_the_rest

SAVED = (ROOT / "docs" / "learn" / "questions.html").read_text(encoding="utf-8")
BY_NAME = {question.name: question for question in QUESTIONS}


def ask(page: Page, **request: object) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(page.answer(json.dumps(request)))
    return answer


def section(name: str) -> str:
    return SAVED.partition(f'id="{name}"')[2].partition("</section>")[0]


def opened(name: str) -> Page:
    """Return the lab at the address that the page has for a question."""
    (address,) = re.findall(r'href="lab\.html#([^"]*)"', section(name))
    page = Page()
    facts = ask(page, do="open", address=unescape(address))
    assert "problem" not in facts
    return page


def test_page_has_the_twenty_questions_of_today() -> None:
    assert len(BY_NAME) == len(QUESTIONS) == 20
    assert questions_page.page() == SAVED, "`make -C docs questions` writes the page anew"


@pytest.mark.parametrize(
    "question", [*QUESTIONS[:4], *map(in_the_rest, QUESTIONS[4:])], ids=lambda one: one.name
)
def test_the_run_of_an_address_answers_its_question(question: Question) -> None:
    page = opened(question.name)
    facts = ask(page, do="look")
    there = question.lab().facts()
    assert (facts["moment"], facts["nodes"]) == (there["moment"], there["nodes"])
    facts = ask(page, do="run", until_ms=question.until_ms)
    assert (facts["broken"], facts["refused"]) == ("", "")
    why = [(event["node"], one[0]) for event in facts["events"] for one in event.get("why", ())]
    told = [tuple(line.split(" <- ")) for line in facts["answers"]]
    (first, *_) = [text for by, text in why + told if by == question.by and question.says in text]
    assert first in unescape(section(question.name))


def states(name: str) -> dict[str, tuple[str, int, int]]:
    """Return the role, term and commit index of the nodes that are up, at a question's moment."""
    hosts = BY_NAME[name].lab().cluster.hosts
    views = [host.node.view for host in hosts.values() if host.node is not None]
    return {view.name: (view.role.value, view.term, view.commit_index) for view in views}


def test_what_the_questions_say_of_their_moment_is_true() -> None:
    two = states("two-leaders")
    assert (two["s1"][:2], two["s2"][:2]) == (("leader", 1), ("leader", 2))
    assert states("new-leader-knows")["s2"] == ("leader", 2, 1)
    assert "leader" not in {role for role, *_ in states("vote-on-disk").values()}
    assert states("own-disk")["s1"] == ("leader", 1, 1)
    assert {term for _, term, _ in states("split-vote").values()} == {1}
    assert states("prevote")["s3"][1] == 1
    assert "s1" not in states("lost-log")
