"""Objects, and operations on them, for the walk over the work of entries."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Final

from raftline.objects.object_operations import OPERANDS

__all__ = ["STATES", "WORDS"]

_OF_WORDS: Final = {
    "VALUE": '"zz"', "KEY": '"zz"', "OWNER": '"o"', "PAIRS": '{"zz": 1}', "INDEX": "0",
    "NUMBER": "1", "SLICE": "[0, 1, 1]", "VALUES": '["zz"]', "ITEM": '"zz"', "ITEMS": '["zz", 1]',
}  # fmt: skip


def _object(value: object) -> list[str]:
    return [f"set k {json.dumps(value)}"]


STATES: Final[dict[str, Callable[[int], list[str]]]] = {
    "numbers": lambda size: _object(list(range(size // 8))),
    "equal numbers": lambda size: _object([1] * (size // 3)),
    "texts": lambda size: _object([str(each) for each in range(size // 10)]),
    "lists": lambda size: _object([[1]] * (size // 5)),
    "one text": lambda size: _object(["x" * (size - 4)]),
    "pairs": lambda size: _object({str(each): 1 for each in range(size // 13)}),
}


def _operands(name: str) -> list[str]:
    needed = [word for word in OPERANDS[name].split() if not word.startswith("[")]
    words = [_OF_WORDS[word] for word in needed]
    return [f"k {name} {' '.join(words)}".rstrip(" ")]


WORDS: Final[dict[str, list[str]]] = {
    "object": [
        *itertools.chain.from_iterable(map(_operands, OPERANDS)),
        "k list.put -1 2",
        "k list.cut [null, null, 2]",
        "k list.splice [null, null, -1] []",
        "k list.insert 9000000000 1",
    ]
}
