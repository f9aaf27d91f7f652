"""The parts of the harness that belong to the library and to extensions, as the kernel's part asks
for them.

They are the package `harness` of each, and `raftline.harness` is that of the library. The wheel of
raftline has none: they come from this clone, or from `parts/` next to this module, where the
course's wheel has them.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from raftline.common import extensions
from raftline.common.extensions import EXTENSIONS, is_there, modules_named

_HERE = Path(__file__).resolve()
ROOTS = (_HERE.parents[2], _HERE.with_name("parts"))


def joined(part: str) -> list[ModuleType]:
    """Return the module of this name of each part of the harness that has one, the library's
    first."""
    of_library = modules_named([f"raftline.harness.{part}"])
    return [*of_library, *extensions.joined(f"harness.{part}")]


def find_in_tree() -> None:
    """Make Python look for the packages `harness` and `tests` there, too."""
    folders = {"raftline": "library"} | {
        f"raftline.{name}": f"extensions/{name}" for name in filter(is_there, EXTENSIONS)
    }
    for package, folder in folders.items():
        path = importlib.import_module(package).__path__
        for own in (root / folder for root in ROOTS):
            if own.is_dir() and str(own) not in path:
                path.append(str(own))
