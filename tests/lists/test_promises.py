"""Each promise of README.md, and each limit of docs/repair.md, is the docstring of a test of real
nodes; and the tests in tests/processes/promises have no other docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = ROOT / "tests" / "processes"
# Page, section, and the text of the section after which the items are promises or limits.
LISTS = (
    ("README.md", "## Promises", ""),
    ("docs/repair.md", "## A node that lost files", "Limits:"),
    ("docs/repair.md", "## A node whose state differs", "Limits:"),
    ("docs/repair.md", "### raftline begin", ""),
)
ITEM = re.compile(r"(?m)^(?:\*|\d\.) (.*(?:\n +.*)*)")
LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")
ADVICE = "So "  # begins a sentence that says what to do about a limit


def bare(text: str) -> str:
    """Return a text of Markdown without its markup, in one line."""
    return " ".join(re.sub(r"\*+", "", LINK.sub(r"\1", text)).split())


def sentences(page: str, section: str, after: str) -> Iterator[str]:
    """Yield the sentences of the items in a list of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.split(r"(?m)^##+ ", text.partition(f"{section}\n")[2])[0]
    for item in ITEM.findall(text.partition(after)[2] if after else text):
        for sentence in re.split(r"(?<=[.:]) (?=[A-Z`*])|\n", bare_lines(item)):
            if not sentence.startswith(ADVICE):
                yield sentence


def bare_lines(item: str) -> str:
    return "\n".join(bare(line) for line in item.splitlines())


@cache
def promised() -> list[str]:
    return [sentence for each in LISTS for sentence in sentences(*each)]


@cache
def docstrings(folder: Path) -> dict[str, list[str]]:
    """Return the docstrings of the tests in a folder, each with its tests."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        for test in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
                text = " ".join((ast.get_docstring(test) or "").split())
                found.setdefault(text, []).append(f"{path.stem}.{test.name}")
    return found


def test_each_promise_and_limit_is_played_by_real_nodes() -> None:
    assert [each for each in promised() if each not in docstrings(PROCESSES)] == []


def test_each_test_of_a_promise_names_one() -> None:
    tests = docstrings(PROCESSES / "promises")
    assert {text: names for text, names in tests.items() if text not in promised()} == {}


@pytest.mark.parametrize("place", LISTS, ids=" ".join)
def test_a_list_of_promises_is_found(place: tuple[str, str, str]) -> None:
    assert len([*sentences(*place)]) > 2


def test_markup_is_not_a_part_of_a_sentence() -> None:
    assert bare("**A lease\n  never ends** [early](x.md#y).") == "A lease never ends early."
