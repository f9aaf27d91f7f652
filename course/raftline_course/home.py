"""The folder of `labs/` and `small/`: `course/` of a clone, or a folder of an installed course."""

from __future__ import annotations

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
CLONE = _HERE / "clone"  # in an installed course: setup.py puts them there
ROOT = CLONE if CLONE.is_dir() else _HERE.parent


def find_world() -> None:
    """Import `labs` from there, and in a clone `raftline_testing` from `testing/`."""
    for folder in (ROOT.parent / "testing", ROOT):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
