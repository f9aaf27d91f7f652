"""The extensions of the kernel: the one place that names them.

An extension joins the kernel by modules with fixed names, its seams: the kernel asks for each
module of that name. An extension whose folder is not there is left out, so a tree without it works
without a change of another file (docs/develop/architecture.md#kernel-and-extensions).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import Final

EXTENSIONS: Final = ("objects", "recipes", "doors.redis", "picture", "monitoring", "tools")


def joined(seam: str) -> list[ModuleType]:
    """Return the module of this name of each extension that is there and has one."""
    return modules_named(f"raftline.{extension}.{seam}" for extension in EXTENSIONS)


def modules_named(names: Iterable[str]) -> list[ModuleType]:
    """Return the modules of these names that are there."""
    found = []
    for name in names:
        try:
            found.append(importlib.import_module(name))
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # the extension is there, and lacks something else
    return found


def is_there(extension: str) -> bool:
    """Return whether an extension is there. Its folder may be left over, without its modules."""
    try:
        package = importlib.import_module(f"raftline.{extension}")
    except ModuleNotFoundError:
        return False
    return getattr(package, "__file__", None) is not None


def is_missing(error: ModuleNotFoundError) -> bool:
    """Return whether what was not found belongs to an extension that is not there."""
    return any(f"{error.name}.".startswith(f"raftline.{extension}.") for extension in EXTENSIONS)
