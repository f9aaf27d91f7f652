"""Conversion of the core's values to plain JSON and back, for the recording of a node's steps.

None, bools, numbers, texts and lists stay as they are. Any other value becomes an object with one
key, the name of its type: `{"Progress": {"next_index": 8, …}}`, `{"Role": "LEADER"}`. This module
lists no type of the core, so new fields and types need no change.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple, cast

CORE = "raftline.raft."
ALIKE = frozenset({type(None), bool, int, float, str})


class PlainError(ValueError):
    """A text that is not a value of this version's core."""


class Token(NamedTuple):
    """The number that stands for a waiting request in a recording."""

    number: int


class Tokens:
    """The numbers of the requests waiting in the core."""

    def __init__(self) -> None:
        self._numbers: dict[int, tuple[int, object]] = {}  # by id; the request is kept with it
        self._last = 0

    def number(self, token: object) -> int:
        """Return the number of a request, a new one if it has none."""
        entry = self._numbers.get(id(token))
        if entry is None:
            self._last += 1
            entry = self._numbers[id(token)] = (self._last, token)
        return entry[0]

    def forget(self, token: object) -> None:
        """Forget an answered request; it gets a new number if it returns."""
        self._numbers.pop(id(token), None)

    def clear(self) -> None:
        """Forget all requests; no number is reused."""
        self._numbers.clear()


def plain(value: Any, tokens: Tokens) -> Any:
    """Return a value of the core as JSON. An object of any other type is the token of a request."""
    kind = type(value)
    if kind in ALIKE:
        return value
    if kind is list:
        return [plain(item, tokens) for item in value]
    format_of = _SHAPES.get(kind)
    if format_of is None:
        format_of = _SHAPES[kind] = _shape_of(kind)
    return format_of(value, tokens)


_SHAPES: dict[type, Callable[[Any, Tokens], Any]] = {}


def _shape_of(kind: type) -> Callable[[Any, Tokens], Any]:
    """Return the function that converts values of one type."""
    name = kind.__name__
    if kind is Token:
        return lambda value, tokens: {"token": value.number}
    if kind in (tuple, deque):
        return lambda value, tokens: {name: [plain(item, tokens) for item in value]}
    if kind is dict:
        return lambda value, tokens: {
            name: [[plain(key, tokens), plain(item, tokens)] for key, item in value.items()]
        }
    if kind in (set, frozenset):
        return lambda value, tokens: {name: [plain(item, tokens) for item in sorted(value)]}
    if kind is bytes:
        return lambda value, tokens: {name: value.hex()}
    if not kind.__module__.startswith(CORE):
        return lambda value, tokens: {"token": tokens.number(value)}
    if issubclass(kind, Enum):
        return lambda value, tokens: {name: value.name}
    if issubclass(kind, tuple):
        return lambda value, tokens: {name: [plain(item, tokens) for item in value]}
    if (fields := _fields_of(kind)) is None:
        return lambda value, tokens: {
            name: {field: plain(item, tokens) for field, item in vars(value).items()}
        }
    return lambda value, tokens: {
        name: {field: plain(getattr(value, field), tokens) for field in fields}
    }


def _fields_of(kind: type) -> Sequence[str] | None:
    """Return the fields of a class whose objects have no `__dict__`; None for any other."""
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    fields: Sequence[str] | None = getattr(kind, "__mypyc_attrs__", None)  # it is compiled
    return fields and [field for field in fields if field != "__dict__"]  # a generic class has one


def value_of(formatted: Any) -> Any:
    """Return the value from which `plain` made this JSON; a request becomes a `Token`.

    Raises:
        PlainError: the JSON is malformed, or comes from a core with other types or fields.
    """
    if type(formatted) is list:
        return [value_of(item) for item in formatted]
    if type(formatted) is not dict:
        return formatted
    try:
        ((name, content),) = formatted.items()
        return _value(name, content)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        if isinstance(error, PlainError):
            raise
        raise PlainError(f"no value of this version's core: {str(formatted)[:80]}") from None


def _value(name: str, content: Any) -> Any:
    if name == "token":
        return Token(content)
    if name == "bytes":
        return bytes.fromhex(content)
    if name == "dict":
        return {value_of(key): value_of(item) for key, item in content}
    if name in _COLLECTIONS:
        return _COLLECTIONS[name](value_of(content))
    kind = core_types()[name]
    if issubclass(kind, Enum):
        return kind[content]
    if issubclass(kind, tuple):
        return kind(*value_of(content))
    return with_fields(kind, {field: value_of(item) for field, item in content.items()})


_COLLECTIONS: dict[str, Callable[[Any], Any]] = {
    "tuple": tuple, "deque": deque, "set": set, "frozenset": frozenset,
}  # fmt: skip


def with_fields(kind: type, fields: dict[str, Any]) -> Any:
    """Return an object of the core with these fields.

    Raises:
        PlainError: the type has other fields.
    """
    expected = getattr(kind, "__dataclass_fields__", fields).keys()
    if expected != fields.keys():
        other = ", ".join(sorted(expected ^ fields.keys()))
        raise PlainError(f"{kind.__name__} has other fields in this version: {other}")
    value: Any = cast(Any, kind).__new__(kind)
    for field, content in fields.items():
        object.__setattr__(value, field, content)
    return value


def core_types() -> dict[str, type]:
    """Return every class of the core by its name."""
    if _TYPES:
        return _TYPES
    for name, module in list(sys.modules.items()):
        if name.startswith(CORE):
            for each in vars(module).values():
                if isinstance(each, type) and each.__module__ == name:
                    _TYPES[each.__name__] = each
    return _TYPES


_TYPES: dict[str, type] = {}
