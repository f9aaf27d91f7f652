"""The tests that a page names, and those of a file."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from raftline_testing.runner.parts import is_missing
from tests.lists.trees import ROOT

TEST = re.compile(r"\[`(\w+)`\]\(([^)]+)\)")


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return the names of a file's tests; a transcript is one test."""
    if not path.exists():
        return frozenset()
    if path.suffix == ".txt":
        return frozenset({path.stem})
    return frozenset(re.findall(r"(?m)^def (test_\w+)\(", path.read_text(encoding="utf-8")))


def is_lost(name: str, page: Path, link: str) -> bool:
    """Whether a page links a test that does not exist; one of a missing part may be missing."""
    path = (page.parent / link).resolve()
    within = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
    return name not in names_in(path) and not is_missing(within)
