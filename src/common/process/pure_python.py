"""Support for RAFTLINE_PURE=1, which imports the Python source even next to a compiled core."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader


class SourceFinder:
    """A finder for `sys.meta_path` that loads the modules of raftline only from `.py` files."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        """Return the spec of a module of raftline; None for any other module."""
        if path is None or not name.startswith("raftline."):
            return None
        for folder in path:
            spec = FileFinder(folder, (SourceFileLoader, [".py"])).find_spec(name)
            if spec is not None:
                return spec
        return None


def prefer_source() -> None:
    """Import all later modules as Python."""
    sys.meta_path.insert(0, SourceFinder)
