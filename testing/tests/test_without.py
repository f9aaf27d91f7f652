"""`make -C testing without`: the tests without the library, and without each extension."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from raftline.common.extensions import EXTENSIONS
from raftline_testing.runner import without


def test_each_part_is_taken_out_in_turn_and_failures_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While the tests run, exactly one is away; one whose tests fail doesn't stop the next."""
    away: list[str] = []

    def run_tests(tree: Path, arguments: Sequence[str]) -> int:
        assert [name for name in arguments if "/" in name and not (tree / name).exists()] == []
        gone = {name for name in EXTENSIONS if not (tree / "extensions" / name).exists()}
        if not (tree / "library").exists():
            assert gone == {*EXTENSIONS}
            gone = {"library"}
        away.append(*gone)
        return int(gone == {"objects"})

    monkeypatch.setattr(without, "run_tests", run_tests)
    assert without.main([]) == 1
    assert away == [*EXTENSIONS, "library"]
    assert capsys.readouterr().out.splitlines()[-1] == "failed without: objects"
    assert without.main(["redis"]) == 0
    assert without.main(["today"]) == (away[-1] == "objects")
    with pytest.raises(SystemExit):
        without.main(["rediss"])
    assert "rediss" in capsys.readouterr().err


def test_each_part_has_its_day() -> None:
    assert {without.part_of_day(day) for day in range(7)} == {*without.PARTS}
