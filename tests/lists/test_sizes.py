"""The sizes that CONTRIBUTING.md promises: of the files of src/, and of their functions."""

from __future__ import annotations

import ast

from tests.lists.test_rooms import SOURCE

FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 40
# Larger files that are pure tables, each of which docs/develop/decisions/004-sizes.md names.
TABLES: set[str] = set()


def test_no_file_of_src_is_longer_than_300_lines_but_for_the_named_tables() -> None:
    sizes = {
        str(path.relative_to(SOURCE)): len(path.read_text(encoding="utf-8").splitlines())
        for path in SOURCE.rglob("*.py")
    }
    longer = {name: lines for name, lines in sizes.items() if lines > FILE_LINES_MAX}
    assert longer.keys() == TABLES, longer


def test_no_function_of_src_is_longer_than_40_lines_behind_its_arguments() -> None:
    longer = {
        f"{path.relative_to(SOURCE)} {part.name}": lines
        for path in SOURCE.rglob("*.py")
        for part in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (lines := (part.end_lineno or part.lineno) - part.body[0].lineno + 1)
        > FUNCTION_LINES_MAX  # behind its arguments
    }
    assert longer == {}
