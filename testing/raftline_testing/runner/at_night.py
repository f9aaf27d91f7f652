"""Parameters whose tests are left to another lane, since others like them are in each run."""

from __future__ import annotations

from typing import Any

import pytest


def at_night(*values: Any) -> list[Any]:
    """Return a parameter of each value, or of each tuple of values."""
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.nightly)
        for value in values
    ]


def in_the_rest(*values: Any) -> Any:
    """Return a parameter of these values for `make test-rest`."""
    return pytest.param(*values, marks=pytest.mark.slow)
