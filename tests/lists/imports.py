"""The imports of our modules: the arrows between them."""

from __future__ import annotations

import ast
import functools

from tests.lists.trees import ROOT, name_of, sources, tree_of

PAGE = ROOT / "docs" / "develop" / "architecture.md"


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Return each module's tree by its name."""
    return {name_of(path): tree_of(path) for path in sources()}


def imported(tree: ast.AST, name: str = "") -> list[str]:
    """Return the names that a module imports, anywhere in it: absolute ones, or full ones if the
    module's name below `raftline` is given."""
    found = []
    for part in ast.walk(tree):
        if isinstance(part, ast.Import):
            found += [alias.name for alias in part.names]
        elif isinstance(part, ast.ImportFrom) and not part.level:
            found += [f"{part.module}.{alias.name}" for alias in part.names]
        elif isinstance(part, ast.ImportFrom) and name:
            above = ["raftline", *name.split(".")][: -part.level]
            home = ".".join([*above, part.module] if part.module else above)
            found += [f"{home}.{alias.name}" for alias in part.names]
    return found


@functools.cache
def arrows() -> dict[str, set[str]]:
    """Return the modules of ours that each module imports."""
    found: dict[str, set[str]] = {}
    for name, tree in modules().items():
        ours = [one.removeprefix("raftline.") for one in imported(tree, name) if is_ours(one)]
        found[name] = {
            one if one in modules() else one.rpartition(".")[0] or "__init__" for one in ours
        }
    return found


def is_ours(name: str) -> bool:
    return name.partition(".")[0] == "raftline"
