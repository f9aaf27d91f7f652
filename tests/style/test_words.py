"""Words that stay out of the comments, docstrings and names of src/, course/ and labs/.

One of them stays out of the names of tests/ and bench/ as well.

An entry comes after another, not behind it; a program prints, answers or sends, and nobody is told;
a node records, and takes no note. Texts that users see are not looked at.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.style.findings import check_none_of

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("src", "course", "labs")
FOLDERS_OF_TESTS = ("tests", "bench")
DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
AVOIDED = re.compile(r"(?<![a-z])(told|behind|(take|takes|taking|took) note)(?![a-z])", re.I)


def words_of(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line number and text of each comment, docstring and name of a module."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.COMMENT, tokenize.NAME):
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DEFINITIONS) and (text := ast.get_docstring(node, clean=False)):
            first = node.body[0].lineno
            yield from enumerate(text.split("\n"), first)


def modules(folders: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        yield path.relative_to(ROOT), path.read_text(encoding="utf-8")


def avoided(source: str) -> list[int]:
    """Return the numbers of the lines with a word that is to be avoided."""
    return sorted({line for line, text in words_of(source) if AVOIDED.search(text)})


def test_no_comment_docstring_or_name_has_an_avoided_word() -> None:
    found = []
    for name, source in modules(FOLDERS):
        lines = source.split("\n")
        found += [f"{name}:{line}: {lines[line - 1].strip()}" for line in avoided(source)]
    check_none_of(found, "say after, sent, reported or recorded")


def test_no_name_of_a_test_has_the_first_of_these_words() -> None:
    found = []
    for name, source in modules(FOLDERS_OF_TESTS):
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NAME and "told" in token.string.lower():
                found.append(f"{name}:{token.start[0]}: {token.string}")
    check_none_of(found, "say sent, reported, answered or printed")


def test_each_kind_of_place_is_looked_at_and_texts_for_users_are_not() -> None:
    source = (
        '"""One\n\nis told."""\n'
        "_told_s = 1\n"
        'error = "it is behind"\n'
        "after = 2  # behind the first\n"
        "class Told: ...\n"
        "untold = 3\n"
    )
    assert avoided(source) == [3, 4, 6, 7]
