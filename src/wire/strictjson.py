"""JSON as objects keep it: one spelling for a value, the same on every node and Python. Pure.

What other parsers leave open is settled here, since a node that takes what another refuses
diverges from it: whole numbers lie within 2^63-1, numbers are finite, nothing is nested deeper
than a bound, text is whole characters.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn, TypeAlias

from ..raft.spelling import NUMBER_MAX

Json: TypeAlias = Any  # None, bool, int, float, str, list of Json, dict of str to Json

DEPTH_MAX = 32  # of what a request brings
STORED_DEPTH_MAX = 64  # of what lies under a key: a request's value, in the object that holds it
VALUES_MAX = 16  # more than any request has
_ESCAPED_QUOTE_OR_BRACKET = re.compile(r'\\.|["\[{\]}]', re.DOTALL)
_AS_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(each for each in range(256) if each not in b"[]{}")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class NotJsonError(ValueError):
    """The message names which rule is broken, to follow on what was looked at."""


def read_json(text: str, depth_max: int = STORED_DEPTH_MAX) -> Json:
    """Return the one value that `text` spells.

    Raises:
        NotJsonError: it spells none, or one outside the bounds above.
    """
    values = read_values(text, depth_max)
    if len(values) != 1:
        raise NotJsonError(f"{len(values)} JSON values where one is meant")
    return values[0]


def read_values(text: str, depth_max: int = DEPTH_MAX) -> list[Json]:
    """Return the values that `text` spells, with spaces between them; see `read_json`."""
    if _is_deeper(text, depth_max):
        raise NotJsonError(f"nested more than {depth_max} deep")
    values: list[Json] = []
    place = _past_spaces(text, 0)
    while place < len(text):
        try:
            value, end = _DECODER.raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise NotJsonError(f"no JSON at character {error.pos + 1}: {error.msg}") from None
        if text[end : end + 1] not in ("", " "):
            raise NotJsonError(f"no space between two JSON values, at character {end + 1}")
        values.append(value)
        if len(values) > VALUES_MAX:
            raise NotJsonError(f"more than {VALUES_MAX} values")
        place = _past_spaces(text, end)
    if _SURROGATE.search(text) or ("\\u" in text and _SURROGATE.search(spell_json(values))):
        raise NotJsonError("a byte or half a character that is no text")
    return values


def spell_json(value: Json) -> str:
    """Return the one spelling of a value that `read_json` or `checked` has returned."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def checked(value: object, depth: int = 1) -> Json:
    """Return a program's value as JSON has it; a tuple becomes a list.

    Raises:
        TypeError: JSON has no such value, such as a set, bytes or a key that is no str.
        ValueError: it lies outside the bounds above.
    """
    if depth > DEPTH_MAX + 1:
        raise NotJsonError(f"nested more than {DEPTH_MAX} deep")
    match value:
        case None | bool():
            return value
        case int():
            return _within(int(value))
        case float():
            return _finite(float(value))
        case str():
            if _SURROGATE.search(value):
                raise NotJsonError("half a surrogate pair, which is no text")
            return str.__str__(value)
        case list() | tuple():
            return [checked(each, depth + 1) for each in value]
        case dict():
            return {_checked_key(key): checked(each, depth + 1) for key, each in value.items()}
    raise TypeError(f"{type(value).__name__} is nothing that JSON can hold, so it isn't replicated")


def _checked_key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a key is a str, not {type(key).__name__}")
    text: str = checked(key)
    return text


def _is_deeper(text: str, depth_max: int) -> bool:
    """Whether brackets outside of strings are nested deeper; total, whatever the text.

    Strings go first, then all but brackets, then the innermost pairs, as often as brackets may be
    nested. What is left is nested deeper, or is no JSON: then each bracket is looked at.
    """
    if text.count("[") + text.count("{") <= depth_max:
        return False
    outside = "".join(text.replace(r"\\", "").replace(r"\"", "").split('"')[::2])
    if "\\" in outside:
        return _is_deeper_by_each(text, depth_max)
    left = outside.encode("ascii", "ignore").translate(_AS_SQUARE, _NO_BRACKETS)
    for _ in range(depth_max):
        before = len(left)
        left = left.replace(b"[]", b"")
        if len(left) in (0, before):
            break
    return len(left) > 0 and _is_deeper_by_each(text, depth_max)


def _is_deeper_by_each(text: str, depth_max: int) -> bool:
    depth, in_string = 0, False
    for found in _ESCAPED_QUOTE_OR_BRACKET.finditer(text):
        sign = found[0]
        if sign == '"':
            in_string = not in_string
        elif not in_string and sign in "[{":
            depth += 1
            if depth > depth_max:
                return True
        elif not in_string and sign in "]}":
            depth -= 1
    return False


def _past_spaces(text: str, place: int) -> int:
    while text[place : place + 1] == " ":
        place += 1
    return place


def _whole_number(text: str) -> int:
    # Bounded before int() sees it: how long a number int() takes differs between Pythons.
    if len(text) > 20:
        raise NotJsonError("a whole number beyond 2^63-1")
    return _within(int(text))


def _within(number: int) -> int:
    if abs(number) > NUMBER_MAX:
        raise NotJsonError("a whole number beyond 2^63-1")
    return number


def _fraction(text: str) -> float:
    return _finite(float(text))


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise NotJsonError("a number that is not finite")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise NotJsonError(f"{name} is no JSON")


# Not strict: a line break typed as \n inside a string has become one before it arrives here.
_DECODER = json.JSONDecoder(
    strict=False, parse_int=_whole_number, parse_float=_fraction, parse_constant=_refuse_constant
)
