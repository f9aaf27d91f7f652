"""The inputs and Effects of a core as JSON, for a core that runs in another process.

An object of a class is `{"T": NAME, field: value …}`, a member of an Enum is its value. The decoder
trusts nothing: a value of a wrong type is a `BadValue`, with its place.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

DEPTH_MAX = 8


class BadValue(ValueError):
    """A value that does not fit its type; the text gives place and reason."""


@cache
def fields_of(one: type) -> tuple[str, ...]:
    """Return the names of a dataclass's or a named tuple's fields; none for another class."""
    if dataclasses.is_dataclass(one):
        return tuple(field.name for field in dataclasses.fields(one))
    return tuple(getattr(one, "_fields", ()))


@cache
def _defaults_of(one: type) -> Mapping[str, Any]:
    """Return the fields that may be omitted, with their values."""
    if not dataclasses.is_dataclass(one):
        return dict(getattr(one, "_field_defaults", {}))
    facts: dict[str, Any] = {}
    for field in dataclasses.fields(one):
        if field.default is not dataclasses.MISSING:
            facts[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            facts[field.name] = field.default_factory()
    return facts


def encode(value: Any) -> Any:
    """Return a value in its JSON form."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Enum):
        return value.value
    kind: type = type(value)
    names = fields_of(kind)
    if names or dataclasses.is_dataclass(kind):
        made: dict[str, Any] = {"T": kind.__name__}
        defaults = _defaults_of(kind)
        for name in names:
            held = getattr(value, name)
            if name not in defaults or held != defaults[name]:
                made[name] = encode(held)
        return made
    if isinstance(value, (bytes, bytearray)):
        return value.decode("latin-1")
    if isinstance(value, Mapping):
        return {str(key): encode(held) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(each) for each in value]
    raise BadValue(f"{value!r:.80} is a {type(value).__name__}, which no field holds")


def decode(value: Any, hint: Any, where: str = "it", depth: int = 0) -> Any:
    """Return the value of a JSON form, which must be of the type `hint`.

    Raises:
        BadValue: it isn't.
    """
    if depth > DEPTH_MAX:
        raise BadValue(f"{where} is nested too deeply")
    if hint is Any:
        return value
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _decode_word(value, hint, where)
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _decode_one_of(value, get_args(hint), where, depth)
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return _decode_list(value, origin, get_args(hint)[0], where, depth)
    if origin is not None or hint in (bytes, int, str, bool, type(None)):
        return _decode_plain(value, hint, where)
    return _decode_object(value, hint, where, depth)


def _decode_word(value: Any, hint: type[Enum], where: str) -> Enum:
    try:
        return hint(_decode_plain(value, str, where))
    except ValueError as error:
        raise BadValue(f"{where} is {value!r:.60}, not {hint.__name__}") from error


def _decode_plain(value: Any, hint: Any, where: str) -> Any:
    if hint is bytes:
        if type(value) is not str or any(ord(char) > 255 for char in value):
            raise BadValue(f"{where} is not bytes")
        return value.encode("latin-1")
    if get_origin(hint) is not None:  # the addresses of members
        if not isinstance(value, dict) or not all(type(held) is str for held in value.values()):
            raise BadValue(f"{where} is not a table of names")
        return value
    if type(value) is not hint:
        raise BadValue(f"{where} is {value!r:.60}, not {hint.__name__}")
    return value


def _decode_one_of(value: Any, choices: Sequence[Any], where: str, depth: int) -> Any:
    if value is None and type(None) in choices:
        return None
    rest = [choice for choice in choices if choice is not type(None)]
    if len(rest) == 1:
        return decode(value, rest[0], where, depth)
    named = {choice.__name__: choice for choice in rest}
    name = value.get("T") if isinstance(value, dict) else None
    if not isinstance(name, str) or name not in named:
        raise BadValue(f"{where} is {name or value!r:.60}, not one of {', '.join(named)}")
    return _decode_object(value, named[name], where, depth)


def _decode_list(value: Any, origin: type, of: Any, where: str, depth: int) -> Any:
    if not isinstance(value, list):
        raise BadValue(f"{where} is {value!r:.60}, not a list")
    items = [decode(one, of, f"{where}[{at}]", depth + 1) for at, one in enumerate(value)]
    return tuple(items) if origin is tuple else items


def _decode_object(value: Any, one: type, where: str, depth: int) -> Any:
    if not isinstance(value, dict) or value.get("T") != one.__name__:
        raise BadValue(f"{where} is {value!r:.60}, not {one.__name__}")
    hints, names = _hints_of(one), fields_of(one)
    given = {
        name: decode(held, hints[name], f"{where}.{name}", depth + 1)
        for name, held in value.items()
        if name in names
    }
    lacking = [name for name in names if name not in given and name not in _defaults_of(one)]
    if lacking:
        raise BadValue(f"{where} has no {lacking[0]}")
    return one(**given)


@cache
def _hints_of(one: type) -> dict[str, Any]:
    return get_type_hints(one)
