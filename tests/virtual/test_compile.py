"""The modules that `make simulation` compiles: what a schedule runs, and no test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.virtual import compile as building


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, source in building.PACKAGES.items():
        (tmp_path / name).symlink_to(source)
    return tmp_path


def test_each_pattern_and_each_exception_names_a_file(package: Path) -> None:
    for name in (*building.SIMULATED, *building.LEFT_OUT):
        assert [*package.glob(f"{name}.py")], name


def test_the_world_its_invariants_and_the_core_are_compiled_and_no_test_is(package: Path) -> None:
    names = {Path(path).relative_to(package).as_posix() for path in building.modules(package)}
    assert {
        "raftline/raft/node.py",
        "raftline/raft/view.py",
        "raftline_course/harness/linearizable.py",
        "tests/invariants.py",
        "tests/virtual/world.py",
        "tests/virtual/schedule.py",
    } <= names
    assert not [name for name in names if "/test_" in name or name.endswith("__init__.py")]


@pytest.mark.nightly  # a minute of computing
def test_the_types_of_what_is_compiled_hold(package: Path) -> None:
    asked = [sys.executable, "-m", "mypy", *building.OPTIONS, *building.modules(package)]
    environment = {**os.environ, "MYPYPATH": str(package)}
    ran = subprocess.run(asked, cwd=building.ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_build_that_is_not_compiled_or_runs_otherwise_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def complaint_of(compiled: list[str]) -> str:
        monkeypatch.setattr(
            building, "outcomes", lambda *paths: compiled if len(paths) == 1 else ["a.py", "x", "y"]
        )
        return str(building.check(tmp_path))

    assert complaint_of(["a.so", "x", "y"]) == ""
    assert complaint_of(["a.py", "x", "y"]) == "a.py is run, which is not compiled"
    assert complaint_of(["a.so", "x", "z"]) == "a schedule ends otherwise than in Python: z"
