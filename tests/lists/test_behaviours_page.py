"""tests/behaviours.md maps each behaviour to its tests: every row has some, and all exist."""

from __future__ import annotations

import re
from pathlib import Path

from tests.lists.named_tests import TEST, is_lost

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "tests" / "behaviours.md"
ROW = re.compile(
    r"^\| (?!row |subject )(00\d-\d\d|[A-Za-z][\w -]*) \| (.+) \| (.*) \|$", re.MULTILINE
)


def problems(page: str) -> list[str]:
    """Return the rows that name no test, and each test that a row names and that does not exist."""
    found = []
    for row, _, cell in ROW.findall(page):
        named = TEST.findall(cell)
        if not named:
            found.append(f"{row}: no test")
        for name, link in named:
            if is_lost(name, PAGE, link):
                found.append(f"{row}: no {name} in {link}")
    return found


def test_each_row_has_tests_and_all_of_them_exist() -> None:
    assert problems(PAGE.read_text(encoding="utf-8")) == []


def test_each_row_of_the_course_stands_exactly_once() -> None:
    expected = [f"004-{number:02}" for number in range(1, 38)]
    expected += [f"003-{number:02}" for number in range(1, 17)]
    expected += [f"002-{number:02}" for number in range(1, 14)]
    expected += [f"000-{number:02}" for number in range(1, 20)]
    expected += [f"001-{number:02}" for number in range(1, 22)]
    found = [row[1] for row in ROW.finditer(PAGE.read_text(encoding="utf-8"))]
    assert [row for row in found if row.startswith("00")] == expected


def test_every_line_of_a_table_is_a_row() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert [
        line
        for line in lines
        if line.startswith("|")
        and not line.startswith(("| row |", "| subject |", "|---"))
        and not ROW.match(line)
    ] == []


def test_every_wrong_row_is_named() -> None:
    page = (
        "| torn tail | a fault |  |\n"
        "| odd values | another | [`test_nothing`](../tests/lists/test_behaviours_page.py) |\n"
        "| half lines | a third | [`test_nothing`](../tests/lists/nowhere.py) |\n"
        "| late vote | a fourth | [`figure_7`](../tests/transcripts/figure_7.txt)"
        "<br>[`test_every_wrong_row_is_named`](../tests/lists/test_behaviours_page.py) |\n"
    )
    assert problems(page) == [
        "torn tail: no test",
        "odd values: no test_nothing in ../tests/lists/test_behaviours_page.py",
        "half lines: no test_nothing in ../tests/lists/nowhere.py",
    ]
