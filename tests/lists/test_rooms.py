"""The rooms of docs/develop/architecture.md: each module is in one, and imports point up its table.

A module that has a row of its own is a room of its own, also inside a folder: `src/node/server.py`.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
PAGE = (ROOT / "docs" / "develop" / "architecture.md").read_text(encoding="utf-8")
SERVE_ALL = ("common",)  # named below the table


@functools.cache
def rows() -> dict[str, int]:
    """Return each room's place in the table; rooms of one row share it."""
    table = re.findall(r"^\| (`src/[^|]*) \|", PAGE, re.M)
    found = {
        name: place
        for place, row in enumerate(table, 1)
        for name in re.findall(r"`src/([\w/]+?)(?:/|\.py)`", row)
    }
    return {**dict.fromkeys(SERVE_ALL, 0), **found}


def room_of(*parts: str) -> str:
    """Return the room of a module by its path in src/, or of a name in such a module."""
    module = "/".join(parts[:2])
    return module if module in rows() else parts[0]


def modules() -> dict[Path, str]:
    """Return the room of each module."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        room = room_of(*path.relative_to(SOURCE).with_suffix("").parts)
        if room not in {"__init__", "__main__", "raftline"}:
            found[path] = room
    return found


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the rooms that a module imports from, but for the sake of types alone."""
    for part in ast.iter_child_nodes(tree):
        if isinstance(part, ast.If) and "TYPE_CHECKING" in ast.unparse(part.test):
            continue
        if isinstance(part, ast.ImportFrom) and part.module == "raftline":
            yield from (alias.name for alias in part.names)
        elif isinstance(part, ast.ImportFrom) and str(part.module).startswith("raftline."):
            path = str(part.module).split(".")[1:]
            yield from (room_of(*path, alias.name) for alias in part.names)
        yield from imported(part)


def test_each_module_is_in_a_room_of_the_page() -> None:
    assert sorted(set(modules().values()) - set(rows())) == []
    assert sorted(set(rows()) - set(modules().values())) == []


def test_imports_between_rooms_point_up_the_table() -> None:
    place = rows()
    against = [
        f"{path.relative_to(SOURCE)} imports from {other}"
        for path, room in sorted(modules().items())
        for other in imported(ast.parse(path.read_text(encoding="utf-8")))
        if place[other] > place[room] > 0
    ]
    assert against == []
    alone = [path.read_text("utf-8") for path, room in modules().items() if place[room] == 0]
    assert {room for text in alone for room in imported(ast.parse(text))} <= set(SERVE_ALL)
