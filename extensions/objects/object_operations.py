"""The operations on replicated objects, and their operands. Pure.

An object is a JSON value under a key. Operands in brackets are optional.
object_kinds.py implements the operations.
"""

from __future__ import annotations

from collections.abc import Callable

from raftline.wire.protocol import shown
from raftline.wire.strict_json import Json, NotJsonError, read_values

OPERANDS = {
    "dict.put": "KEY VALUE",
    "dict.update": "PAIRS",
    "dict.drop": "KEY",
    "dict.take": "KEY [VALUE]",
    "dict.default": "KEY VALUE",
    "dict.swap": "KEY VALUE VALUE",
    "dict.takelast": "",
    "dict.clear": "",
    "list.append": "VALUE",
    "list.extend": "VALUES",
    "list.insert": "INDEX VALUE",
    "list.put": "INDEX VALUE",
    "list.drop": "INDEX",
    "list.take": "[INDEX]",
    "list.remove": "VALUE",
    "list.splice": "SLICE VALUES",
    "list.cut": "SLICE",
    "list.reverse": "",
    "list.clear": "",
    "set.add": "ITEM",
    "set.discard": "ITEM",
    "set.union": "ITEMS",
    "set.intersection": "ITEMS",
    "set.difference": "ITEMS",
    "set.symmetric": "ITEMS",
    "set.take": "",
    "set.clear": "",
    "queue.put": "VALUE [NUMBER]",
    "queue.take": "",
    "queue.clear": "",
    "lock.acquire": "OWNER NUMBER",
    "lock.beat": "OWNER NUMBER",
    "lock.release": "OWNER NUMBER",
    "lock.seize": "OWNER NUMBER NUMBER NUMBER",
}


class Unfit(Exception):
    """An unknown or unfit operation; nothing was changed. The message gives the reason."""


def is_scalar(value: Json) -> bool:
    """Whether a set may hold this value."""
    return not isinstance(value, list | dict)


def fits(kind: str, value: Json) -> bool:
    """Whether a JSON value is an object of this kind."""
    if kind in ("list", "queue"):
        return isinstance(value, list)
    if kind == "set":
        return isinstance(value, list) and all(map(is_scalar, value))
    if kind == "lock":
        return value == {} or (isinstance(value, dict) and _is_held(value))
    return isinstance(value, dict)


def operands_of(name: str, text: str) -> list[Json]:
    """Return the operands of an operation from JSON values separated by spaces.

    Raises:
        Unfit: the operation is unknown, or its operands don't fit it.
    """
    if name not in OPERANDS:
        raise Unfit(f"there is no operation {shown(name)} on an object")
    words = OPERANDS[name].split()
    form = " ".join((name, *words))
    try:
        operands = read_values(text)
    except NotJsonError as error:
        raise Unfit(f"{form}: {error}") from None
    required = sum(not word.startswith("[") for word in words)
    if not required <= len(operands) <= len(words):
        raise Unfit(f"the form is: {form}, and {len(operands)} operands were given")
    for word, operand in zip(words, operands, strict=False):
        what, fitting = _WORDS[word.strip("[]")]
        if not fitting(operand):
            raise Unfit(f"{form}: {word} must be {what}")
    return operands


def _is_held(lock: dict[str, Json]) -> bool:
    numbers = [lock.get(word) for word in ("token", "lease_ms", "beat")]
    return len(lock) == 4 and isinstance(lock.get("owner"), str) and all(map(_is_number, numbers))


def _is_number(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_slice(value: Json) -> bool:
    """Whether the value is [START, STOP, STEP], each a whole number or null."""
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(each is None or _is_number(each) for each in value)
        and value[2] != 0
    )


_WORDS: dict[str, tuple[str, Callable[[Json], bool]]] = {
    "VALUE": ("any JSON", lambda value: True),
    "KEY": ("a string", lambda value: isinstance(value, str)),
    "OWNER": ("a string", lambda value: isinstance(value, str)),
    "PAIRS": ("an object", lambda value: isinstance(value, dict)),
    "INDEX": ("a whole number", _is_number),
    "NUMBER": ("a whole number", _is_number),
    "SLICE": ("[START, STOP, STEP]", _is_slice),
    "VALUES": ("a list", lambda value: isinstance(value, list)),
    "ITEM": ("a value other than a list or an object", is_scalar),
    "ITEMS": ("a list without lists and objects in it", lambda value: fits("set", value)),
}
