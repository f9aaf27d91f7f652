"""`make -C testing without`: the kernel's tests without each extension in turn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from raftline.common.extensions import EXTENSIONS
from raftline_testing.runner import without


def test_each_extension_is_taken_out_in_turn_and_failures_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While the tests run, exactly one is away; one whose tests fail doesn't stop the next."""
    away: list[str] = []

    def run_tests(tree: Path, arguments: Sequence[str]) -> int:
        assert {*without.KERNEL_TESTS} < {*arguments}
        gone = {name for name in EXTENSIONS if not (tree / "extensions" / name).exists()}
        away.append(*gone)
        return int(gone == {"objects"})

    monkeypatch.setattr(without, "run_tests", run_tests)
    assert without.main([]) == 1
    assert away == [*EXTENSIONS]
    assert capsys.readouterr().out.splitlines()[-1] == "failed without: objects"
    assert without.main(["redis"]) == 0
    with pytest.raises(SystemExit):
        without.main(["rediss"])
    assert "rediss" in capsys.readouterr().err
