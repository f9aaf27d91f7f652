"""The sizes that pages promise: of functions (CONTRIBUTING.md), of the kernel and the extensions
(start-here.md). `make sizes` counts them, and reports the longest files."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from raftline_testing.runner.sizes import KERNEL, sizes
from tests.lists.imports import modules

FUNCTION_LINES_MAX = 40
START_HERE = Path(__file__).parents[2] / "docs" / "develop" / "start-here.md"
ROW = re.compile(r"^\| (\w+) \| ([0-9,]+) \| ([0-9,]+) \|$", re.M)
README = Path(__file__).parents[2] / "README.md"
SENTENCE = re.compile(r"^The store itself, .* ([0-9,]+) lines of code; .* ([0-9,]+) more", re.M)
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


def test_the_page_has_the_sizes_of_kernel_and_extensions() -> None:
    rows = {name: counts for name, *counts in ROW.findall(START_HERE.read_text("utf-8"))}
    found = sizes()
    assert rows.keys() == found.keys()
    for name, size in found.items():
        for said, lines in zip(rows[name], size, strict=True):
            assert _is_about(said, lines), name
    sentence = SENTENCE.search(README.read_text("utf-8"))
    assert sentence is not None
    kernel = found.pop(KERNEL).code
    assert _is_about(sentence[1], kernel)
    assert _is_about(sentence[2], sum(size.code for size in found.values()))


def _is_about(said: str, lines: int) -> bool:
    return abs(int(said.replace(",", "")) - lines) <= max(MAY_DIFFER * lines, 100)
