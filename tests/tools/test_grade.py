"""`raftline grade` where there is no clone, and what a handout of its lab leaves out."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from raftline import cli
from raftline.tools import grade

HANDOUT = Path(__file__).resolve().parents[2] / "labs" / "write-raft" / "handout.py"


def test_of_a_rule_a_handout_has_the_name_alone() -> None:
    spec = importlib.util.spec_from_file_location("write_raft_handout", HANDOUT)
    assert spec is not None
    assert spec.loader is not None
    handout = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(handout)
    made = handout.outline("class A:\n    def rule(self, term):\n        return term + 1\n")
    assert "def rule(self, term):" in made
    assert "raise NotImplementedError" in made
    assert "term + 1" not in made
    assert handout.without("x = 1\ndef accepts():\n    return 2\ny = 3\n", "accepts") == (
        "x = 1\ny = 3\n"
    )


def test_without_a_clone_the_command_is_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(grade, "__file__", str(tmp_path / "lib" / "raftline" / "grade.py"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["grade", "hand-ins"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("raftline: the grader is no part of the installed package")
    assert said.count("\n") == 1
