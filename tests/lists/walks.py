"""The walks: tables of steps, with the functions in src/ that each step names."""

from __future__ import annotations

import ast
import functools
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Protocol

import pytest

from raftline.net.connections.connection import Connection
from raftline.objects.embedded_node import Node
from raftline_testing.doubles.scripted_node import free_port
from tests.lists.trees import file_of, tree_of, within

ROOT = Path(__file__).parents[2]
WRITE = ROOT / "docs" / "develop" / "how-a-write-travels.md"
WATCH = ROOT / "library" / "how-a-watch-travels.md"
LOCK = ROOT / "extensions" / "recipes" / "how-a-lock-is-held.md"
PLACE = re.compile(r"`([a-z_/]+\.py)`|`(?:[A-Z]\w+\.)?(\w+)`")
Place = tuple[str, str]  # a file in src/ and its function


class Profile(Protocol):
    """A function for `sys.setprofile`."""

    def __call__(self, frame: FrameType, event: str, _: object, /) -> None: ...


def rows(page: Path, mark: str = r"\d+") -> list[list[Place]]:
    """Return the functions that each step of a page's table names; `mark` begins its row."""
    steps = []
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = line.split(" | ")
        if re.match(rf"\| {mark} \|", line):
            file, places = "", list[Place]()
            for path, name in PLACE.findall(cells[2]):
                file = path or file
                if name:
                    places.append((file, name))
            steps.append(places)
    return steps


@functools.cache
def defined(file: str) -> set[str]:
    """Return the names of the functions and the classes in a file of src/."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {part.name for part in ast.walk(tree_of(file_of(file))) if isinstance(part, kinds)}


def place_of(frame: FrameType) -> Place | None:
    """Return the place of a call, if it is in src/."""
    file = within(Path(frame.f_code.co_filename))
    return (file, frame.f_code.co_name) if file else None


@contextmanager
def profiled(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make all new threads call `profile` meanwhile, including the threads of connections."""
    serve, named = Connection.serve, threading.current_thread

    def followed(connection: Connection) -> None:
        sys.setprofile(profile)  # `threading` doesn't start the threads of connections
        serve(connection)

    def current_thread() -> threading.Thread:
        sys.setprofile(profile)  # nor those of `begin_thread`, which first name themselves
        return named()

    monkeypatch.setattr(Connection, "serve", followed)
    monkeypatch.setattr(threading, "current_thread", current_thread)
    threading.setprofile(profile)
    try:
        yield
    finally:
        threading.setprofile(None)


@contextmanager
def running_nodes(folder: Path, count: int) -> Iterator[dict[str, Node]]:
    """Run a cluster of this many nodes in this process."""
    members = {f"s{i}": f"localhost:{free_port()}" for i in range(1, count + 1)}
    nodes: dict[str, Node] = {}
    try:
        for name in members:
            nodes[name] = Node(name, members=members, dir=folder / name, pace="class")
        if count == 1:  # it listens for other members first
            assert nodes["s1"].wait_until_leader(timeout=60)
        yield nodes
    finally:
        for node in nodes.values():
            node.close()
