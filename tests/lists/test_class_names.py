"""A class name has one meaning in src/, so that a search finds it."""

from __future__ import annotations

import ast
import collections

from tests.lists.imports import modules


def test_no_class_name_stands_in_two_modules() -> None:
    homes = collections.defaultdict(set)
    for module, tree in modules().items():
        for part in ast.walk(tree):
            if isinstance(part, ast.ClassDef):
                homes[part.name].add(module)
    assert "Batch" in homes
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}
