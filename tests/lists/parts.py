"""The parts of the tree that can be deleted: the library, and each extension.

A rule reads what is there. In a whole tree nothing is missing, so nothing is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from raftline.common.extensions import EXTENSIONS, LIBRARY
from tests.lists.trees import ROOT

MISSING = frozenset(
    [
        *(name for name in EXTENSIONS if not (ROOT / "extensions" / name).is_dir()),
        *(() if (ROOT / "library").is_dir() else ("library", *LIBRARY)),
    ]
)
whole = pytest.mark.skipif(bool(MISSING), reason="it is about the tree with all parts")


def is_missing(name: str) -> bool:
    """Whether a path from the root, a path within the package, or a module belongs to a part that
    is missing."""
    words = re.split(r"[/.]", name.removeprefix("extensions/").removeprefix("raftline."))
    return words[0] in MISSING


def there(names: Iterable[str]) -> set[str]:
    """Return the names that belong to no missing part."""
    return {name for name in names if not is_missing(name)}
