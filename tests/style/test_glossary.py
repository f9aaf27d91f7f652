"""docs/index.md: few words of our own, each of which is used somewhere."""

from __future__ import annotations

import re
from pathlib import Path

from tests.style.findings import check_none_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "index.md"
WORDS_MAX = 20
ROW = re.compile(r"^\| (?!our word|-)(.+?) \| (.+) \| (.+) \|$", re.MULTILINE)


def words() -> list[str]:
    """Return the words that the page explains, one by one."""
    rows = [row[0].replace("`", "") for row in ROW.findall(PAGE.read_text(encoding="utf-8"))]
    return [re.sub(r" N$", "", word) for row in rows for word in row.split(", ")]


def test_the_glossary_has_twenty_rows_at_most() -> None:
    assert 0 < len(ROW.findall(PAGE.read_text(encoding="utf-8"))) <= WORDS_MAX


def test_each_word_of_the_glossary_is_used_on_another_page() -> None:
    folders = [ROOT / "docs", ROOT / "course"]
    pages = [*ROOT.glob("*.md"), *(page for folder in folders for page in folder.rglob("*.md"))]
    text = "\n".join(path.read_text(encoding="utf-8") for path in pages if path != PAGE)
    unused = [
        word for word in words() if not re.search(rf"\b{re.escape(word)}s?\b", text, re.IGNORECASE)
    ]
    check_none_of(unused, "a word that no other page uses needs no row")


def test_no_word_stands_in_the_glossary_twice() -> None:
    assert sorted(set(words())) == sorted(words())
