"""The sizes that pages promise: of functions (CONTRIBUTING.md), of the kernel and the extensions
(start-here.md). `make -C testing sizes` counts them, and reports the longest files."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from raftline_testing.runner.parts import there
from raftline_testing.runner.sizes import KERNEL, sizes
from tests.lists.imports import modules

FUNCTION_LINES_MAX = 40
ROOT = Path(__file__).resolve().parents[2]
START_HERE = ROOT / "docs" / "develop" / "start-here.md"
ROW = re.compile(r"^\| (\w+) \| ([0-9,]+) \| ([0-9,]+) \|$", re.M)
README = ROOT / "README.md"
COUNTED = re.compile(r"\b[0-9][0-9,]* tests|\b(?:second|minute|hour)s?\b")
SENTENCE = re.compile(
    r"^The store itself, .* ([0-9,]+) lines of code[^;]*; .* ([0-9,]+) more", re.M
)
MAY_DIFFER = 0.05


def test_no_function_of_src_exceeds_40_lines() -> None:
    """The lines of the arguments do not count."""
    longer = {
        f"{name} {part.name}": lines
        for name, tree in modules().items()
        for part in ast.walk(tree)
        if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (lines := (part.end_lineno or part.lineno) - part.body[0].lineno + 1)
        > FUNCTION_LINES_MAX  # after its arguments
    }
    assert longer == {}


@pytest.mark.slow
def test_the_page_has_the_sizes_of_kernel_and_extensions() -> None:
    rows = {name: counts for name, *counts in ROW.findall(START_HERE.read_text("utf-8"))}
    found = sizes()
    assert there(rows) == found.keys()
    for name, size in found.items():
        for said, lines in zip(rows[name], size, strict=True):
            assert _is_about(said, lines), name


def test_the_readme_has_the_numbers_of_that_page() -> None:
    code = {name: _number(code) for name, code, _ in ROW.findall(START_HERE.read_text("utf-8"))}
    sentence = SENTENCE.search(README.read_text("utf-8"))
    assert sentence is not None
    assert _number(sentence[1]) == code.pop(KERNEL)
    assert _number(sentence[2]) == sum(code.values())


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "Makefile"])
def test_no_line_about_the_tests_counts_them_or_their_minutes(name: str) -> None:
    """Both change with each commit and from machine to machine; the run itself prints them."""
    lines = [line for line in (ROOT / name).read_text("utf-8").splitlines() if "make test" in line]
    lines += re.findall(r"^test[a-z-]*:.*", (ROOT / name).read_text("utf-8"), re.MULTILINE)
    assert lines
    assert [line for line in lines if COUNTED.search(line)] == []


def _number(said: str) -> int:
    return int(said.replace(",", ""))


def _is_about(said: str, lines: int) -> bool:
    return abs(_number(said) - lines) <= max(MAY_DIFFER * lines, 100)
