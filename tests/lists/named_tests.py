"""The tests that a page names, and those of a file."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

TEST = re.compile(r"\[`(\w+)`\]\(([^)]+)\)")


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return the names of a file's tests; a transcript is one test."""
    if not path.exists():
        return frozenset()
    if path.suffix == ".txt":
        return frozenset({path.stem})
    return frozenset(re.findall(r"(?m)^def (test_\w+)\(", path.read_text(encoding="utf-8")))
