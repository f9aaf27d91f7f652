"""The labs' sheets: one form, each question numbered. A person reads them next to a terminal."""

from __future__ import annotations

import re
from itertools import groupby

import pytest
from course.tests.sheets import LABS, PARTS, labs, sheet

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("lab", labs())
def test_a_sheet_has_the_five_parts(lab: str) -> None:
    text = sheet(lab)
    number = labs().index(lab) + 1
    assert text.startswith(f"# Lab {number}: ")
    assert re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)[1:] == PARTS


@pytest.mark.parametrize("lab", labs())
def test_a_sheet_numbers_its_questions_and_leads_to_the_appendix(lab: str) -> None:
    text = sheet(lab)
    asked = text.partition("\n## Questions\n")[2]
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", asked, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 5
    assert "../appendix-reports.md" in text


def test_experiment_b_orders_match_its_check() -> None:
    """Without the cut between the two that hold the entry one of them is elected at once, and the
    short log is never denied."""
    sheet = (LABS / "majorities" / "README.md").read_text("utf-8")
    experiment = sheet.partition("**B: ")[2].partition("**C: ")[0]
    checks = (LABS / "majorities" / "check.py").read_text("utf-8")
    source = checks.partition("def latest_log_wins(")[2].partition("\ndef ")[0]
    order = re.compile(r"PARTITION|STORE|SHUTDOWN|HEAL|TIMEOUT")
    given = order.findall(experiment)
    assert given == ["PARTITION", "STORE", "PARTITION", "SHUTDOWN", "HEAL", "TIMEOUT", "HEAL"]
    assert [one for one, _ in groupby(order.findall(source))][: len(given)] == given
