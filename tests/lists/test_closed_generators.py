"""A generator that is closed ends: it yields nothing while it cleans up, since nobody carries out
another step."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.lists.trees import ROOT, parts_of, sources


def yields(body: Sequence[ast.AST]) -> bool:
    parts = (part for one in body for part in ast.walk(one))
    return any(isinstance(part, ast.Yield | ast.YieldFrom) for part in parts)


def names_in(handler: ast.ExceptHandler) -> str:
    return ast.unparse(handler.type) if handler.type is not None else "BaseException"


def yields_when_closed(part: ast.Try) -> bool:
    """Whether a statement that has a yield in its body may yield again after GeneratorExit. If a
    handler raises that again, the tests of recipes see what a `finally` yields."""
    if not yields(part.body):
        return False
    for handler in part.handlers:
        if "GeneratorExit" in names_in(handler):
            return yields(handler.body) or not isinstance(handler.body[-1], ast.Raise)
        if "BaseException" in names_in(handler) and yields(handler.body):
            return True
    return yields(part.finalbody)


def faults(path: Path) -> Iterator[str]:
    for part in parts_of(path):
        if isinstance(part, ast.Try) and yields_when_closed(part):
            yield f"{path.relative_to(ROOT)}:{part.lineno}"


def test_no_generator_yields_after_it_was_closed() -> None:
    assert [fault for path in sources() for fault in faults(path)] == []


@pytest.mark.parametrize(
    ("text", "is_wrong"),
    [
        ("try:\n yield 1\nexcept BaseException:\n yield 2\n raise", True),
        ("try:\n yield 1\nfinally:\n yield 2", True),
        ("try:\n yield 1\nexcept GeneratorExit:\n pass\nfinally:\n yield 2", True),
        ("try:\n yield 1\nexcept GeneratorExit:\n raise\nexcept BaseException:\n yield 2", False),
        ("try:\n yield 1\nexcept Exception:\n yield 2", False),
        ("try:\n pass\nfinally:\n yield 2", False),
    ],
)
def test_rule_finds_a_yield_after_the_end(text: str, is_wrong: bool) -> None:
    (statement,) = ast.parse(text).body
    assert isinstance(statement, ast.Try)
    assert yields_when_closed(statement) is is_wrong
