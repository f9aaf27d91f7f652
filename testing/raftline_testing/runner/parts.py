"""The parts of the tree that can be deleted: the library, and each extension.

A rule, or a run of tests, takes what is there. In a whole tree nothing is missing.

    python -m raftline_testing.runner.parts

prints the options of mypy for a tree that lacks a part, whose modules others name for types.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from raftline.common.extensions import EXTENSIONS, LIBRARY

from .tree_copy import ROOT

MISSING = frozenset(
    [
        *(name for name in EXTENSIONS if not (ROOT / "extensions" / name).is_dir()),
        *(() if (ROOT / "library").is_dir() else ("library", *LIBRARY)),
    ]
)
# Of a rule about the tree with all parts, or of a schedule that goes otherwise without one.
whole = pytest.mark.skipif(bool(MISSING), reason="a part of the tree is missing")
_IMPORTED = re.compile(rf"^(?:from|import) raftline\.({'|'.join(MISSING) or '(?!)'})\b", re.M)


def is_missing(name: str) -> bool:
    """Whether a path from the root, a path within the package, or a module belongs to a part that
    is missing."""
    words = re.split(r"[/.]", name.removeprefix("extensions/").removeprefix("raftline."))
    return words[0] in MISSING


def there(names: Iterable[str]) -> set[str]:
    """Return the names that belong to no missing part."""
    return {name for name in names if not is_missing(name)}


def with_part(part: str) -> pytest.MarkDecorator:
    """Mark a test whose commands are those of another extension, too."""
    return pytest.mark.skipif(part in MISSING, reason=f"{part} is missing")


def needs_missing(source: str) -> bool:
    """Whether a module imports from a part that is missing, at its top."""
    return _IMPORTED.search(source) is not None


if __name__ == "__main__":
    codes = ("import-not-found", "unused-ignore") if MISSING else ()
    print(" ".join(f"--disable-error-code={code}" for code in codes))
