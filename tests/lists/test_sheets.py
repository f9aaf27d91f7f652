"""The labs' sheets: one form, each question numbered. A person reads them beside a terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LABS = ROOT / "labs"
PARTS = ["Goal", "Time", "Run", "Look", "Questions"]
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def labs() -> list[str]:
    """Return the labs that `make labs` checks, in their order."""
    line = re.search(r"^LABS := (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert line is not None
    return line[1].split()


def sheet(lab: str) -> str:
    return (LABS / lab / "README.md").read_text(encoding="utf-8")


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
