"""Lines of code of the kernel and of each extension, and of their tests: `make -C testing sizes`.

Blank lines, comments and docstrings don't count.
"""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path
from typing import NamedTuple

from raftline.common.extensions import EXTENSIONS

from .tree_copy import ROOT

KERNEL = "kernel"
_NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENCODING, tokenize.ENDMARKER,
}  # fmt: skip


class Size(NamedTuple):
    """The lines of code of a part, and of its tests with its parts of the harness and the bench."""

    code: int
    tests: int


def code_lines(source: str) -> int:
    """Return how many lines of a module have code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for part in ast.walk(ast.parse(source)):
        if isinstance(part, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = part.body[0] if part.body else None
            if ast.get_docstring(part, clean=False) is not None and first is not None:
                lines -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return len(lines)


def sizes() -> dict[str, Size]:
    """Return the sizes of the kernel, the library and each extension by their names, if there."""
    tests = _lines_below(ROOT / "tests") + _lines_below(ROOT / "testing" / "raftline_testing")
    found = {KERNEL: Size(_lines_below(ROOT / "src"), tests)}
    parts = (ROOT / "library", *(ROOT / "extensions" / name for name in EXTENSIONS))
    for folder in filter(Path.is_dir, parts):
        tests = sum(_lines_below(folder / name) for name in ("tests", "harness", "bench"))
        found[folder.name] = Size(_lines_below(folder) - tests, tests)
    return found


def row(name: str, size: Size) -> str:
    """Return the row of docs/develop/start-here.md, in hundreds of lines."""
    return f"| {name} | {round(size.code, -2):,} | {round(size.tests, -2):,} |"


def _lines_below(folder: Path) -> int:
    return sum(code_lines(path.read_text(encoding="utf-8")) for path in folder.rglob("*.py"))


def main() -> None:
    for name, size in sizes().items():
        print(row(name, size))


if __name__ == "__main__":
    main()
