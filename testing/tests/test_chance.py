"""The numbers of chance are those that `random` draws: a seed keeps its schedule."""

from __future__ import annotations

from random import Random

import pytest

from raftline_testing.virtual.world.chance import pick, up_to


@pytest.mark.parametrize("most", [0, 1, 2, 3, 4, 7, 8, 300, 1 << 40])
def test_a_number_is_the_one_that_randint_draws(most: int) -> None:
    ours, theirs = Random(7), Random(7)
    assert [up_to(most, ours) for _ in range(200)] == [theirs.randint(0, most) for _ in range(200)]
    assert ours.random() == theirs.random()


@pytest.mark.parametrize("options", ["a", "ab", (1, 3, 10), [*range(5)]])
def test_an_option_is_the_one_that_choice_draws(options: list[int]) -> None:
    ours, theirs = Random(7), Random(7)
    assert [pick(options, ours) for _ in range(200)] == [theirs.choice(options) for _ in range(200)]
