"""Parameters whose tests run in another lane, since similar ones are in each run."""

from __future__ import annotations

from typing import Any

import pytest


def at_night(*values: Any) -> list[Any]:
    """Return a parameter for each value or tuple of values."""
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.nightly)
        for value in values
    ]


def in_the_rest(*values: Any) -> Any:
    """Return a parameter with these values for `make test-rest`."""
    return pytest.param(*values, marks=pytest.mark.slow)
