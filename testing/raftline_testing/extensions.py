"""The parts of the harness that belong to extensions, as the kernel's part asks for them.

They are the package `harness` of each. A wheel has none, so with one they come from this tree.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from raftline.common import extensions
from raftline.common.extensions import EXTENSIONS, is_there

FOLDER = Path(__file__).resolve().parents[2] / "extensions"


def joined(part: str) -> list[ModuleType]:
    """Return the module of this name of each extension's part of the harness that has one."""
    return extensions.joined(f"harness.{part}")


def find_in_tree() -> None:
    """Make Python look for `raftline.EXTENSION.harness` and `.tests` in this tree, too."""
    for extension in filter(is_there, EXTENSIONS):
        path = importlib.import_module(f"raftline.{extension}").__path__
        if (own := str(FOLDER / extension)) not in path and Path(own).is_dir():
            path.append(own)
