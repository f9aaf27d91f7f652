"""Parameters whose tests run in another lane, since similar ones are in each run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar

import pytest

_Row = TypeVar("_Row")


def at_night(*values: Any) -> list[Any]:
    """Return a parameter for each value or tuple of values."""
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.nightly)
        for value in values
    ]


def in_the_rest(*values: Any) -> Any:
    """Return a parameter with these values for `make test-rest`."""
    return pytest.param(*values, marks=pytest.mark.slow)


def for_seeds(
    by_day: int, whole: int
) -> Callable[[Callable[[int], None]], Callable[[range], None]]:
    """Run a test as one for the first seeds, and as another for the rest at night.

    A failure names its seed.
    """
    seeds = pytest.mark.parametrize(
        "seeds",
        [
            pytest.param(range(by_day), id="day"),
            pytest.param(range(by_day, whole), id="rest", marks=pytest.mark.nightly),
        ],
    )

    def decorate(test: Callable[[int], None]) -> Callable[[range], None]:
        @functools.wraps(test)
        def run(seeds: range) -> None:
            for seed in seeds:
                try:
                    test(seed)
                except Exception as error:
                    raise AssertionError(f"with seed {seed}") from error

        del run.__dict__["__wrapped__"]  # pytest would ask for the parameters of that one
        return seeds(run)

    return decorate


def one_each(rows: Iterable[_Row], kind: Callable[[_Row], Hashable]) -> list[Any]:
    """Return the first row of each kind for each run, and the others for the night."""
    kinds: set[Hashable] = set()
    found: list[Any] = []
    for row in rows:
        found += [row] if kind(row) not in kinds else at_night(row)
        kinds.add(kind(row))
    return found
