"""The recipes of docs/use/python.md, run at three nodes."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import raftline

PAGE = Path(__file__).parents[3] / "docs" / "use" / "python.md"


@pytest.fixture(scope="module")
def page() -> Any:
    """Return the functions of all blocks."""
    names: dict[str, Any] = {}
    recipes = PAGE.read_text("utf-8").partition("\n## Patterns\n")[2]
    for block in re.findall(r"^```python\n(.*?)^```$", recipes, re.M | re.S):
        exec(block, names)
    return SimpleNamespace(**names)


def test_more_than_the_limit_is_refused(kv: raftline.KV[str], page: Any) -> None:
    allowed = [page.is_allowed(kv, "anna", 3, seconds=100_000) for _ in range(5)]
    assert allowed == [True, True, True, False, False]
    assert page.is_allowed(kv, "berta", 3, seconds=100_000)
    assert all(kv.ttl(key) is not None for key in kv.keys("rate/"))


def test_no_id_is_given_twice(kv: raftline.KV[str], page: Any) -> None:
    assert list(page.ids(kv, 3)) == [1, 2, 3]
    assert list(page.ids(kv, 2)) == [4, 5]
