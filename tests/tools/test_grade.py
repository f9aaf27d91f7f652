"""`raftline grade` where there is no clone."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftline import cli
from raftline.tools import grade


def test_without_a_clone_the_command_is_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(grade, "__file__", str(tmp_path / "lib" / "raftline" / "grade.py"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["grade", "hand-ins"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("raftline: the grader is no part of the installed package")
    assert said.count("\n") == 1
