"""The syntax trees of our files, each read once for all rules."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from raftline_testing.runner import tree_copy

ROOT = Path(__file__).resolve().parents[2]


SOURCES = [ROOT / name for name in tree_copy.SOURCES]  # the folders of the package `raftline`


def sources(below: str = "") -> list[Path]:
    """Return each module of the package `raftline`, or of the folder `below` in it."""
    return [
        path
        for folder in SOURCES
        for path in sorted((folder / below).rglob("*.py"))
        if not {"tests", "harness", "bench"} & set(path.relative_to(folder).parts)
    ]


def within(path: Path) -> str:
    """Return the path of a module within the package: `raft/log.py`; "" if it is outside."""
    folder = next((one for one in SOURCES if path.is_relative_to(one)), None)
    return path.relative_to(folder).as_posix() if folder is not None else ""


def name_of(path: Path) -> str:
    """Return a module's name below `raftline`: `raft.log`."""
    return within(path).removesuffix(".py").replace("/", ".")


def file_of(name: str) -> Path:
    """Return the file or folder with this path within the package."""
    return next((one / name for one in SOURCES if (one / name).exists()), SOURCES[0] / name)


def trees(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield the name of each Python file in the folders, from the root, and its tree."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), tree_of(path)


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def parts_of(path: Path) -> tuple[ast.AST, ...]:
    """Return all nodes of a file's tree."""
    return tuple(ast.walk(tree_of(path)))
