"""The extensions of the kernel: the one place that names them.

An extension joins the kernel by modules with fixed names, its seams: the kernel asks for each
module of that name. An extension whose folder is not there is left out, so a tree without it works
without a change of another file (docs/develop/architecture.md#kernel-and-extensions).
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterable
from types import ModuleType
from typing import Final

EXTENSIONS: Final = ("objects", "recipes", "redis", "picture", "monitoring", "tools")
KERNEL: Final = "kernel"  # the part of the node's own commands (common/effects.py)
LIBRARY: Final = ("aio", "api", "clients", "errors", "threads")  # what lies in library/

# The part (common/effects.py) of each verb of an extension. A build without an extension knows them
# too: an entry with one is no unknown command there.
VERBS: Final = {
    "object": "objects",
    **dict.fromkeys(("hold", "unhold", "abandon", "enqueue", "requeue", "dequeue"), "recipes"),
    "redis": "redis",
}
_OPERATIONS: Final = re.compile(" ; | then | else |^txn ")


def parts_in(command: str) -> set[str]:
    """Return the extensions that an entry with this command needs."""
    return {VERBS[verb] for verb in verbs_in(command) & VERBS.keys()}


def verbs_in(command: str) -> set[str]:
    """Return the verbs of an entry, also within a transaction or under a lease. A value that looks
    like a further operation counts as one."""
    name, at, bare = command.partition("@")
    bare = bare if at and " " not in name else command
    pieces = _OPERATIONS.split(bare) if bare.startswith("txn ") else (bare,)
    found = set()
    for piece in pieces:
        words = piece.split(" ", 3)
        found.add(words[2] if words[0] == "under" and len(words) > 2 else words[0])
    return found


class ExtensionBroken(ImportError):
    """An extension can't be loaded. A program ends with this one line (quiet_exit.py)."""


def joined(seam: str) -> list[ModuleType]:
    """Return the module of this name of each extension that is there and has one.

    Raises:
        ExtensionBroken: one can't be loaded, or is there twice.
    """
    return [module for extension in EXTENSIONS for module in _joined(extension, seam)]


def _joined(extension: str, seam: str) -> list[ModuleType]:
    folders = folders_of(extension)
    if len(folders) > 1:
        raise ExtensionBroken(
            f"the extension {extension} is there twice, in {' and '.join(folders)}, and may be of "
            "two builds: remove one folder"
        )
    try:
        return modules_named([f"raftline.{extension}.{seam}"])
    except Exception as error:
        raise ExtensionBroken(
            f"the extension {extension} can't be loaded ({type(error).__name__}: {error}): install "
            f"it again, or remove {' '.join(folders)} if no entry needs it"
        ) from error


def folders_of(extension: str) -> list[str]:
    """Return each folder with modules of an extension."""
    roots = importlib.import_module("raftline").__path__
    paths = [os.path.join(root, extension) for root in roots]
    return [path for path in paths if os.path.isfile(os.path.join(path, "__init__.py"))]


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
    """Return whether what was not found belongs to the library, or to an extension, that is not
    there."""
    package, _, module = (error.name or "").partition(".")
    return package == "raftline" and module.partition(".")[0] in (*LIBRARY, *EXTENSIONS)
