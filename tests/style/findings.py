"""The outcome of a style gate: one line a finding, and no traceback."""

from __future__ import annotations

from collections.abc import Iterable

import pytest


def check_none_of(found: Iterable[str], rule: str) -> None:
    """Fail with each finding on a line of its own below the rule, if there is one."""
    lines = [*found]
    if lines:
        pytest.fail("\n  ".join([f"{rule} ({len(lines)}):", *lines]), pytrace=False)
