"""The length of pages and of their sentences: sheets and keys of labs, the README."""

from __future__ import annotations

import re

import pytest

from tests.lists.test_sheets import FENCE, ROOT, labs
from tests.style.findings import check_none_of

LINES_MAX, README_LINES_MAX, WORDS_MAX, SENTENCE_WORDS_MAX = 90, 110, 900, 20
CODE = re.compile(r"`[^`\n]+(?:\n[^`\n]+)?`")
QUOTED = re.compile(r'"[^"\n|]+"')
LINK = re.compile(r"\[([^][]*)\]\([^()]*\)")
BEGINS = re.compile(r"^\s*(?:[*-]|\d+\.)\s+|^#+ |^\|", re.MULTILINE)
ENDS = re.compile(r"(?<=[.?!])[*)]*\s+")
SHEETS = [f"labs/{lab}/README.md" for lab in (*labs(), "write-raft")]
KEYS = [f"labs/keys/{lab}.md" for lab in (*labs(), "write-raft")]
BESIDE = ["labs/README.md", "labs/appendix-reports.md", "docs/tutorial.md",
          "course/docs/controller.md", "course/docs/simulator.md"]  # fmt: skip


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def sentences(text: str) -> list[str]:
    """Return the sentences of a page. A piece of code is one word; a cell of a table, an item of a
    list and a heading stand alone."""
    prose = LINK.sub(r"\1", CODE.sub("CODE", FENCE.sub("\n", text)))
    blocks = re.split(r"\n\s*\n", BEGINS.sub("\n\n", prose).replace("|", "\n\n"))
    return [part for block in blocks for part in ENDS.split(" ".join(block.split())) if part]


@pytest.mark.parametrize("page", [*SHEETS, *KEYS, *BESIDE])
def test_a_page_of_the_course_has_short_sentences(page: str) -> None:
    text = text_of(page) if page in SHEETS else QUOTED.sub("QUOTED", text_of(page))
    long = [one for one in sentences(text) if len(one.split()) > SENTENCE_WORDS_MAX]
    check_none_of(long, f"{page}: a sentence has {SENTENCE_WORDS_MAX} words at most")


def test_the_readme_and_the_sheets_are_short() -> None:
    check_none_of(
        [
            f"{page}: {len(text.splitlines())} lines, {len(text.split())} words"
            for page in SHEETS
            if len((text := text_of(page)).splitlines()) > LINES_MAX
            or len(text.split()) > WORDS_MAX
        ],
        f"a sheet has {LINES_MAX} lines and {WORDS_MAX} words at most",
    )
    assert len(text_of("README.md").splitlines()) <= README_LINES_MAX


def test_a_sentence_ends_at_its_mark_and_a_cell_at_its_line() -> None:
    text = "One `a. b` [two three](x.md).\nFour? | five |\n* six\n7. seven\n```sh\nnone. no\n```\n"
    assert sentences(text) == ["One CODE two three.", "Four?", "five", "six", "seven"]
