"""The English of docstrings and pages: the marks of a dialect of our own are counted."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.lists.listed_pages import HISTORY, pages, text_of, tracked
from tests.lists.trees import ROOT, parts_of

MARKS_MAX = 2  # in all pages; only ever lowered
MADE = {HISTORY, "bench/results.md"}
ASKS = r"(?![^.;:]*\?)"  # a question may begin so
MARKS = {
    "What or Who as a subject": rf"(?:^|[.;:] |\*+ )(?:What|Who|Whoever|Whose) [a-z]{ASKS}",
    "whoever": r"\bwhoever\b",
    "is no X": r"(?<![Tt]here )\b(?:is|are|was|were) no "
    r"(?!longer|more|less|such|other|one\b|better|worse|later|earlier)[a-z]",
    "no X's": r"\bno [\w-]+'s(?=[.,;:)]|$)",
    "goes on": r"\b(?:goes|go|going|went) on\b",
    "anew": r"\banew\b",
    "holds no longer": r"\b\w+ no longer(?=[.,;:)]|$)",
    "beside": r"\bbeside\b",
    "amid": r"\b[Aa]mid\b",
    "of which": r"(?<!each )(?<!all )(?<!one )(?<!none )(?<!any )(?<!first )(?<!last )"
    r"(?<!second )(?<!some )(?<!both )(?<!most )(?<!each element )"
    r"(?<!each byte )\bof (?:which|whom)\b",
}
BEGINNING = re.compile(r"(?:What|Who|Whoever|Whose|Have|Let)\b")


def marks_in(text: str) -> Iterator[str]:
    """Yield each mark in a text, with the words around it."""
    words = " ".join(re.sub(r"`[^`]*`", "", text).split())
    for name, pattern in MARKS.items():
        for found in re.finditer(pattern, words, re.IGNORECASE if name == "whoever" else 0):
            yield f"{name}: {words[max(0, found.start() - 40) : found.end() + 20]}"


@cache
def docstrings() -> list[tuple[str, str]]:
    """Return each docstring after the name of its file."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        (name, text)
        for name in sorted(tracked())
        if name.endswith(".py")
        for part in parts_of(ROOT / name)
        if isinstance(part, kinds) and (text := ast.get_docstring(part, clean=False))
    ]


def prose_lines(page: str) -> list[str]:
    """Return the lines of a page without its blocks of code."""
    return re.sub(r"(?ms)^ *```.*?^ *```$", "", text_of(page)).splitlines()


def test_no_docstring_begins_with_a_question_word_or_an_order() -> None:
    assert [each for each in docstrings() if BEGINNING.match(each[1])] == []


def test_docstrings_have_no_mark_of_our_own_dialect() -> None:
    assert [(name, mark) for name, text in docstrings() for mark in marks_in(text)] == []


def test_pages_have_few_marks_of_our_own_dialect() -> None:
    found = [f"{page}: {mark}" for page in pages() if page not in MADE
             for line in prose_lines(page) for mark in marks_in(line)]  # fmt: skip
    assert len(found) <= MARKS_MAX, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("What it took stays.", "What or Who as a subject"),
        ("It ends. Whoever asks is refused.", "What or Who as a subject"),
        ("What goes wrong?", ""),
        ("Keep it for whoever asks.", "whoever"),
        ("A text that is no line.", "is no X"),
        ("There is no leader, and there are no such keys.", ""),
        ("It is no longer here.", ""),
        ("For a text that is nobody's, and no peer's.", "no X's"),
        ("The service goes on.", "goes on"),
        ("Read it anew.", "anew"),
        ("So it leads no longer.", "holds no longer"),
        ("A node beside others.", "beside"),
        ("It ends amid a write.", "amid"),
        ("Two nodes, of which one leads.", "of which"),
        ("Two nodes, each of which leads.", ""),
    ],
)
def test_a_mark_is_found(text: str, name: str) -> None:
    found = [mark.partition(":")[0] for mark in marks_in(text)]
    assert found == ([name] if name else []) or name in found
