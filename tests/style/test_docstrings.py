"""The English of docstrings, as far as a test can judge it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.style.findings import check_none_of

ROOT = Path(__file__).resolve().parents[2]
FREE_RELATIVE = re.compile(r"(Who|Whom|What|Where|When|Whoever|Whatever|Wherever)\b")
FOLDERS = ("src", "course", "tests", "labs", "bench", "docs", "integrations")
DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def test_no_docstring_begins_with_a_free_relative() -> None:
    found = []
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, DEFINITIONS):
                text = ast.get_docstring(node) or ""
                if FREE_RELATIVE.match(text):
                    found.append(f"{path.relative_to(ROOT)}: {text.splitlines()[0]}")
    check_none_of(found, "a docstring begins with a noun or a verb")
