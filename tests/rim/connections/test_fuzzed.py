"""A slice of `make -C testing fuzz`: a hundred examples of each target, the same each time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline_testing.fuzzing.all_targets import TARGETS
from raftline_testing.fuzzing.fuzz import carried_out
from raftline_testing.fuzzing.targets import Target


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_is_said_at_the_door_the_rule_holds(name: str) -> None:
    target = TARGETS[name]

    @given(target.strategy)
    def drawn(example: object) -> None:
        target.check(example)

    drawn()


def test_a_fault_that_was_found_is_reported_with_its_example(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuses(number: int) -> None:
        assert number < 7

    targets = {"numbers": Target(st.integers(0, 100), refuses)}
    assert carried_out(targets, 5.0, 3) == 1
    said = capsys.readouterr().out
    assert "numbers: a fault" in said
    assert "example=7" in said
    assert "SEED=3" in said


def test_examples_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    targets = {"numbers": Target(st.integers(), lambda number: None)}
    assert carried_out(targets, 0.01, 3) == 0
    assert "numbers" in capsys.readouterr().out
