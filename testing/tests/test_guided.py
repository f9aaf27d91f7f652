"""The fuzzer that is guided by what examples reach: what it finds, and how that is shown."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import strategies as st

from raftline_testing.fuzzing import fuzz, guided
from raftline_testing.fuzzing.all_targets import TARGETS
from raftline_testing.fuzzing.planted import TARGETS as PLANTED
from raftline_testing.fuzzing.targets import Target

EXAMPLES = 30  # of each target


@pytest.mark.slow
def test_a_fault_behind_three_bytes_is_found_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("atheris", reason="the guided fuzzer needs atheris")
    planted = guided.Sum("planted", PLANTED["planted"])
    guided.turn(planted, 3, tmp_path, of="raftline_testing.fuzzing.planted", runs=200_000)
    said = capsys.readouterr().out
    assert "planted: a fault" in said
    assert r"example=b'R\xf77'" in said
    assert f"--again {planted.fault}" in said
    assert Path(planted.fault).read_bytes().startswith(b"R\xf77")


def test_finding_is_shrunk_while_the_same_line_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """A finding is made smaller as long as the same line fails."""
    assert guided.again(PLANTED["planted"], b"R\xf77 and more") == 1
    assert r"example=b'R\xf77'" in capsys.readouterr().out
    assert guided.again(PLANTED["planted"], b"R\xf7") == 0
    assert "no fault" in capsys.readouterr().out


def test_what_hypothesis_makes_of_bytes_is_shown_as_well(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuses(numbers: list[int]) -> None:
        assert not numbers

    target = Target(st.lists(st.integers(0, 9), min_size=2), refuses)
    assert guided.again(target, bytes(range(200))) == 1
    assert "example=[" in capsys.readouterr().out


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if target.form])
def test_an_example_that_is_written_as_bytes_is_read_from_them(name: str) -> None:
    target = TARGETS[name]
    assert target.form is not None
    for data in target.seeds(3, EXAMPLES):
        read = target.form.read(data)
        assert target.form.read(target.form.write(read)) == read


def test_targets_share_the_time_and_fail_independently(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All targets have the same time and a fault of one ends no other."""
    turns: list[tuple[str, int, int]] = []

    def turn(so_far: guided.Sum, number: int, folder: Path, seconds: int) -> None:
        turns.append((so_far.name, number, seconds))
        so_far.fault = "found-crash" if so_far.name == "lines" else ""

    monkeypatch.setattr(guided, "turn", turn)
    targets = {name: TARGETS[name] for name in ("lines", "proofs")}
    assert guided.carried_out(targets, 500.0, 3, 2) == 1
    assert sorted(turns) == [(name, number, 250) for name in targets for number in (3, 4)]
    said = capsys.readouterr().out
    assert "found-crash" in said
    assert "no fault" in said


def test_without_atheris_examples_are_drawn_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(fuzz, "PIECE", 3)
    monkeypatch.setattr(sys, "argv", ["fuzz", "--minutes", "0", "--only", "lines"])
    assert fuzz.main() == 0
    said = capsys.readouterr().out
    assert said.startswith("not guided: atheris")
    assert "3 examples, no fault" in said


def test_what_was_found_is_wanted_with_its_target(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["fuzz", "--again", str(tmp_path / "none")])
    with pytest.raises(SystemExit):
        fuzz.main()
    assert "--only NAME" in capsys.readouterr().err
