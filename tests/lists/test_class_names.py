"""A class name of src/ has one meaning. A leading underscore makes no other name of it."""

from __future__ import annotations

import ast

from tests.lists.test_rooms import modules

PAIRS = {  # a protocol and the class that fulfils it, with the reason why net/ has a protocol
    "Observers": "net.host is below node, which has the class",
    "Watchers": "net.host is below node, which has the class",
}


def test_no_class_name_stands_twice_but_for_a_protocol_and_its_class() -> None:
    homes: dict[str, list[str]] = {}
    for module, tree in modules().items():
        for part in ast.walk(tree):
            if isinstance(part, ast.ClassDef):
                homes.setdefault(part.name.lstrip("_"), []).append(module)
    twice = {name: sorted(found) for name, found in homes.items() if len(found) > 1}
    assert twice == {name: ["net.host", f"node.{name.lower()}"] for name in PAIRS}
