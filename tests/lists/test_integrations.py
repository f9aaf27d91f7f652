"""Each name that integrations/ import of raftline exists. Some of their suites need PostgreSQL or
Docker, so nobody would see a change that breaks them until somebody runs them."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

from raftline_testing.runner.parts import whole
from tests.lists.trees import parts_of

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "integrations").rglob("*.py"))
OURS = {"raftline", "raftline_course"}


@whole
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_each_name_that_an_integration_imports_is_there(path: Path) -> None:
    missing = [
        f"line {part.lineno}: {part.module} has no {each.name}"
        for part in parts_of(path)
        if isinstance(part, ast.ImportFrom) and (part.module or "").split(".")[0] in OURS
        for each in part.names
        if not is_there(part.module or "", each.name)
    ]
    assert missing == []


def is_there(module: str, name: str) -> bool:
    found = importlib.import_module(module)
    return hasattr(found, name) or importlib.util.find_spec(f"{module}.{name}") is not None


def test_there_are_integrations() -> None:
    assert len(FILES) > 10
