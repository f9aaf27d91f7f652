"""The modules that `make -C testing simulation` compiles: what a schedule runs, and no test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from raftline_testing.runner.tree_copy import package_folders
from raftline_testing.virtual import compile as building
from raftline_testing.virtual.constructors import with_constructors


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder of the packages, as they are compiled from it."""
    for name, source in package_folders():
        left_out = shutil.ignore_patterns("tests")
        shutil.copytree(source, tmp_path / name, ignore=left_out, dirs_exist_ok=True)
    return tmp_path


def test_each_pattern_and_each_exception_names_a_file(package: Path) -> None:
    for name in (*building.SIMULATED, *building.LEFT_OUT):
        assert [*package.glob(f"{name}.py")], name


def test_world_and_core_are_compiled_and_tests_are_not(package: Path) -> None:
    """The world its invariants and the core are compiled and no test is."""
    names = {Path(path).relative_to(package).as_posix() for path in building.modules(package)}
    assert {
        "raftline/raft/node.py",
        "raftline/raft/node_view.py",
        "raftline_testing/histories/linearizable.py",
        "raftline_testing/invariants.py",
        "raftline_testing/virtual/world/world.py",
        "raftline_testing/virtual/schedule.py",
    } <= names
    assert not [name for name in names if "/test_" in name or name.endswith("__init__.py")]


@pytest.mark.slow
@pytest.mark.needs("processes")
def test_the_types_of_what_is_compiled_hold(package: Path) -> None:
    asked = [sys.executable, "-m", "mypy", *building.OPTIONS, *building.modules(package)]
    environment = {**os.environ, "MYPYPATH": str(package)}
    ran = subprocess.run(asked, cwd=building.ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_uncompiled_or_differing_build_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A build that is not compiled or runs otherwise is refused."""

    def complaint_of(compiled: list[str]) -> str:
        monkeypatch.setattr(
            building, "outcomes", lambda *paths: compiled if len(paths) == 1 else ["a.py", "x", "y"]
        )
        return str(building.check(tmp_path))

    assert complaint_of(["a.so", "x", "y"]) == ""
    assert complaint_of(["a.py", "x", "y"]) == "a.py is run, which is not compiled"
    assert complaint_of(["a.so", "x", "z"]) == "a schedule ends otherwise than in Python: z"


DATACLASSES = """
from dataclasses import dataclass, field

@dataclass(slots=True)
class Base:
    name: str

@dataclass(slots=True)
class Derived(Base):
    number: int = 7  # of something
    lines: list[str] = field(default_factory=list)
    length: int = field(init=False)

    def __post_init__(self) -> None:
        self.length = len(self.lines)

@dataclass(frozen=True)
class Frozen:
    name: str
"""


def test_written_constructors_equal_those_of_the_decorator() -> None:
    """The constructors that a build writes are those of the decorator."""

    def made(source: str) -> tuple[list[str], Any]:
        names: dict[str, Any] = {"__name__": __name__}
        exec(source, names)
        new, frozen = names["Derived"], names["Frozen"]
        one, other = new("a"), new("b", 8, ["line"])
        one.lines.append("its own")
        shown = [repr(each) for each in (one, other, new("c"), frozen("d"), names["Base"]("e"))]
        return shown, new.__init__

    written, plain = made(with_constructors(DATACLASSES)), made(DATACLASSES)
    assert written[0] == plain[0]
    assert written[1].__code__.co_varnames[:4] == plain[1].__code__.co_varnames[:4]
    assert with_constructors(DATACLASSES).count("def __init__(") == 2
