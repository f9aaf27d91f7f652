"""Which Python runs the nodes: an optimized one, the newest that is on the PATH."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCH))
pythons = importlib.import_module("pythons")  # a program beside these tests


OPTIMIZED, PLAIN, UNKNOWN = True, False, None
Known = tuple[tuple[int, ...], "bool | None"]


@pytest.mark.parametrize(
    ("own", "others", "chosen", "complains"),
    [
        (((3, 11, 7), OPTIMIZED), {"python3": ((3, 14, 1), OPTIMIZED)}, "own", False),
        (((3, 11, 7), PLAIN), {"python3": ((3, 11, 2), OPTIMIZED)}, "python3", False),
        (
            ((3, 11, 7), PLAIN),
            {"python3.9": ((3, 9, 2), OPTIMIZED), "python3.10": ((3, 10, 9), OPTIMIZED)},
            "python3.10",
            False,
        ),
        (((3, 9, 7), PLAIN), {"python3": ((3, 9, 2), OPTIMIZED), "python3-a": None}, "own", True),
        (((3, 13, 0), UNKNOWN), {"python3": ((3, 12, 1), PLAIN)}, "own", True),
        (((3, 11, 7), PLAIN), {}, "own", True),
    ],
)
def test_optimized_python_runs_the_nodes(
    own: Known,
    others: dict[str, Known | None],
    chosen: str,
    complains: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in others:
        (tmp_path / name).touch(0o755)
    known = {"own": own, **others}

    def look_at(path: str) -> object:
        found = known[Path(path).name]
        return pythons.Python(*found, path) if found else None

    monkeypatch.setattr(sys, "executable", "own")
    monkeypatch.setattr(pythons, "FOLDERS", [str(tmp_path)])
    monkeypatch.setattr(pythons, "look_at", look_at)
    pythons.of_nodes.cache_clear()
    assert Path(pythons.of_nodes().path).name == chosen
    assert bool(pythons.complaint()) == complains
    pythons.of_nodes.cache_clear()


def test_program_that_is_no_python_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "python3").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python3").chmod(0o755)
    assert pythons.described(str(tmp_path / "python3")) == ""
    assert pythons.described(sys.executable).startswith("3.")
