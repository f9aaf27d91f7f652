"""RAFTLINE_PURE=1: imports the Python source even if a compiled core lies beside it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader


class SourceFinder:
    """Finds the modules of raftline as their `.py` files alone; see `sys.meta_path`."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        """Return where a module of raftline is; None for any other."""
        if path is None or not name.startswith("raftline."):
            return None
        for folder in path:
            found = FileFinder(folder, (SourceFileLoader, [".py"])).find_spec(name)
            if found is not None:
                return found
        return None


def prefer_source() -> None:
    """Import each module from now on as Python."""
    sys.meta_path.insert(0, SourceFinder)
