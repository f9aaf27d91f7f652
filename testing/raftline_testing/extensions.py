"""The parts of the harness that belong to extensions, as the kernel's part asks for them.

They are the package `harness` of each. The wheel of raftline has none: they come from this clone,
or from `parts/` next to this module, where the course's wheel has them.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from raftline.common import extensions
from raftline.common.extensions import EXTENSIONS, is_there

_HERE = Path(__file__).resolve()
FOLDERS = (_HERE.parents[2] / "extensions", _HERE.with_name("parts"))


def joined(part: str) -> list[ModuleType]:
    """Return the module of this name of each extension's part of the harness that has one."""
    return extensions.joined(f"harness.{part}")


def find_in_tree() -> None:
    """Make Python look for `raftline.EXTENSION.harness` and `.tests` there, too."""
    for extension in filter(is_there, EXTENSIONS):
        path = importlib.import_module(f"raftline.{extension}").__path__
        for own in (folder / extension for folder in FOLDERS):
            if own.is_dir() and str(own) not in path:
                path.append(str(own))
