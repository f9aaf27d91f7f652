"""The labs' sheets: one form, two pages, short sentences. A person reads them beside a terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LABS = ROOT / "labs"
PARTS = ["Goal", "Time", "Run", "Look", "Questions"]
LINES_MAX, WORDS_MAX, SENTENCE_WORDS_MAX = 90, 900, 20
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]+(?:\n[^`\n]+)?`")
QUOTED = re.compile(r'"[^"\n|]+"')
PAGES = ("README.md", "appendix-reports.md", "../docs/tutorial.md", "../course/docs/controller.md",
         "../course/docs/simulator.md")  # fmt: skip
LINK = re.compile(r"\[([^][]*)\]\([^()]*\)")
BEGINS = re.compile(r"^\s*(?:[*-]|\d+\.)\s+|^#+ |^\|", re.MULTILINE)
ENDS = re.compile(r"(?<=[.?!])[*)]*\s+")


def labs() -> list[str]:
    """Return the labs that `make labs` checks, in their order."""
    line = re.search(r"^LABS := (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert line is not None
    return line[1].split()


def sheet(lab: str) -> str:
    return (LABS / lab / "README.md").read_text(encoding="utf-8")


def sentences(text: str) -> list[str]:
    """Return the sentences of a page. A piece of code is one word; a cell of a table, an item of a
    list and a heading stand alone."""
    prose = LINK.sub(r"\1", CODE.sub("CODE", FENCE.sub("\n", text)))
    blocks = re.split(r"\n\s*\n", BEGINS.sub("\n\n", prose).replace("|", "\n\n"))
    return [part for block in blocks for part in ENDS.split(" ".join(block.split())) if part]


def long_sentences(text: str) -> list[str]:
    return [one for one in sentences(text) if len(one.split()) > SENTENCE_WORDS_MAX]


@pytest.mark.parametrize("lab", labs())
def test_a_sheet_has_the_five_parts_and_two_pages(lab: str) -> None:
    text = sheet(lab)
    number = labs().index(lab) + 1
    assert text.startswith(f"# Lab {number}: ")
    assert re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)[1:] == PARTS
    assert len(text.splitlines()) <= LINES_MAX
    assert len(text.split()) <= WORDS_MAX


@pytest.mark.parametrize("lab", labs())
def test_a_sheet_has_short_sentences(lab: str) -> None:
    assert long_sentences(sheet(lab)) == []


@pytest.mark.parametrize("lab", labs())
def test_a_sheet_numbers_its_questions_and_leads_to_the_appendix(lab: str) -> None:
    text = sheet(lab)
    asked = text.partition("\n## Questions\n")[2]
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", asked, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 5
    assert "../appendix-reports.md" in text


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_beside_the_sheets_have_short_sentences(page: str) -> None:
    text = (LABS / page).read_text(encoding="utf-8")
    assert long_sentences(QUOTED.sub("QUOTED", text)) == []


def test_a_sentence_ends_at_its_mark_and_a_cell_at_its_line() -> None:
    text = "One `a. b` [two three](x.md).\nFour? | five |\n* six\n7. seven\n```sh\nnone. no\n```\n"
    assert sentences(text) == ["One CODE two three.", "Four?", "five", "six", "seven"]
