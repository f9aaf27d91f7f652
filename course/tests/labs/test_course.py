"""The course's commands without the course, and what a handout of lab 7 leaves out."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from raftline import cli
from raftline.tools import course

HANDOUT = Path(__file__).resolve().parents[3] / "course" / "labs" / "write-raft" / "handout.py"


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


@pytest.mark.parametrize("command", [*course.COMMANDS])
def test_course_commands_without_the_course_say_what_to_install(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the course, its commands say in a line what to install."""
    monkeypatch.setattr(course, "PACKAGE", "raftline_course_elsewhere")
    assert cli.main([command, "--help"]) == 2
    said = capsys.readouterr().err
    assert said == (
        f"raftline: {command} is a command of the course, "
        "whose wheel `make -C course wheel` builds in a clone\n"
    )


@pytest.mark.parametrize(
    ("arguments", "looks"),
    [
        (["status", "--help"], 0),
        (["members", "--help"], 0),
        (["--help"], 0),
        (["up", "--help"], 1),
        (["help", "up"], 1),
    ],
)
def test_a_command_of_the_store_does_not_look_for_the_course(
    arguments: list[str],
    looks: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found: list[None] = []
    monkeypatch.setattr(course, "found", lambda: found.append(None))
    with pytest.raises(SystemExit):
        cli.main(arguments)
    assert bool(found) == bool(looks)
    assert "usage: raftline" in capsys.readouterr().out
