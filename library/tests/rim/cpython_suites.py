"""Run CPython's own tests of a class on one of ours."""

from __future__ import annotations

import unittest
from collections.abc import Container, Iterable
from typing import Any

import pytest


def cases_of(suites: Iterable[type[unittest.TestCase]], left_out: Container[str] = ()) -> list[Any]:
    """Return the parameters (suite, name of a test) of all tests that aren't excluded."""
    return [
        pytest.param(suite, name, id=f"{suite.__name__}-{name}")
        for suite in suites
        for name in unittest.TestLoader().getTestCaseNames(suite)
        if name not in left_out
    ]


def problems(suite: type[unittest.TestCase], name: str) -> list[tuple[Any, str]]:
    """Run one test; return its errors and failures."""
    result = unittest.TestResult()
    suite(name).run(result)
    assert result.testsRun == 1
    return [*result.errors, *result.failures]
