"""The size that CONTRIBUTING.md promises for functions. `make sizes` reports those of files."""

from __future__ import annotations

import ast

from tests.lists.imports import modules

FUNCTION_LINES_MAX = 40


def test_no_function_of_src_has_more_than_40_lines_after_its_arguments() -> None:
    longer = {
        f"{name} {part.name}": lines
        for name, tree in modules().items()
        for part in ast.walk(tree)
        if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (lines := (part.end_lineno or part.lineno) - part.body[0].lineno + 1)
        > FUNCTION_LINES_MAX  # after its arguments
    }
    assert longer == {}
