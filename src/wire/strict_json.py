"""The JSON of machines and objects: a canonical form for each value, which is the same on every
node and in every version of Python. Pure.

This module fixes the details that other parsers leave open, since a node that accepts a value that
another node refuses would diverge from it: whole numbers are within 2^63-1, numbers are finite, the
nesting depth is limited, and text has only whole characters.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn, TypeAlias

from ..common.text import NUMBER_MAX

Json: TypeAlias = Any  # None, bool, int, float, str, list of Json, dict of str to Json

DEPTH_MAX = 32  # of a value in a request
STORED_DEPTH_MAX = 64  # of a stored object, which contains a request's value
VALUES_MAX = 16  # more than any request needs
_ESCAPED_QUOTE_OR_BRACKET = re.compile(r'\\.|["\[{\]}]', re.DOTALL)
_AS_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(each for each in range(256) if each not in b"[]{}")
_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_FAR = b"0" * len(str(NUMBER_MAX))  # fewer digits are a number within the limits
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class NotJsonError(ValueError):
    """Text that breaks a rule, which the message names after the name of the text."""


def read_json(text: str, depth_max: int = STORED_DEPTH_MAX) -> Json:
    """Return the single value in `text`.

    Raises:
        NotJsonError: the text has no value, or a value outside the limits above.
    """
    values = read_values(text, depth_max)
    if len(values) != 1:
        raise NotJsonError(f"{len(values)} JSON values where one is meant")
    return values[0]


def read_values(text: str, depth_max: int = DEPTH_MAX) -> list[Json]:
    """Return the values in `text`, separated by spaces; see `read_json`."""
    if _is_deeper(text, depth_max):
        raise NotJsonError(f"nested more than {depth_max} deep")
    values: list[Json] = []
    decoder = _CHECKING if _may_have_far_number(text) else _PLAIN
    place = _past_spaces(text, 0)
    while place < len(text):
        try:
            value, end = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise NotJsonError(f"not JSON at character {error.pos + 1}: {error.msg}") from None
        if text[end : end + 1] not in ("", " "):
            raise NotJsonError(f"no space between two JSON values, at character {end + 1}")
        values.append(value)
        if len(values) > VALUES_MAX:
            raise NotJsonError(f"more than {VALUES_MAX} values")
        place = _past_spaces(text, end)
    if _SURROGATE.search(text) or ("\\u" in text and _SURROGATE.search(format_json(values))):
        raise NotJsonError("a byte or half a character, which is not text")
    return values


def format_json(value: Json) -> str:
    """Return the canonical form of a value from `read_json` or `checked`."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def checked(value: object, depth: int = 1) -> Json:
    """Return a program's value as JSON; a tuple becomes a list.

    Raises:
        TypeError: JSON has no such value, for example a set, bytes or a key that is not a str.
        ValueError: the value is outside the limits above.
    """
    match value:
        case list() | tuple() | dict() if depth > DEPTH_MAX:
            raise NotJsonError(f"nested more than {DEPTH_MAX} deep")
        case None | bool():
            return value
        case int():
            return _within(int(value))
        case float():
            return _finite(float(value))
        case str():
            if _SURROGATE.search(value):
                raise NotJsonError("half a surrogate pair, which is not text")
            return str.__str__(value)
        case list() | tuple():
            return [checked(each, depth + 1) for each in value]
        case dict():
            return {_checked_key(key): checked(each, depth + 1) for key, each in value.items()}
    raise TypeError(f"{type(value).__name__} has no form in JSON, so it isn't replicated")


def _checked_key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a key is a str, not {type(key).__name__}")
    text: str = checked(key)
    return text


def _is_deeper(text: str, depth_max: int) -> bool:
    """Whether brackets outside of strings are nested deeper; defined for any text.

    The function removes strings, then all characters except brackets, then the innermost pairs,
    once for each allowed level. If brackets remain, they are nested deeper or the text is not JSON,
    and the slow check of each bracket decides.
    """
    if text.count("[") + text.count("{") <= depth_max:
        return False
    outside = "".join(text.replace(r"\\", "").replace(r"\"", "").split('"')[::2])
    if "\\" in outside:
        return _is_deeper_by_each(text, depth_max)
    rest = outside.encode("ascii", "ignore").translate(_AS_SQUARE, _NO_BRACKETS)
    for _ in range(depth_max):
        before = len(rest)
        rest = rest.replace(b"[]", b"")
        if len(rest) in (0, before):
            break
    return len(rest) > 0 and _is_deeper_by_each(text, depth_max)


def _is_deeper_by_each(text: str, depth_max: int) -> bool:
    depth, in_string = 0, False
    for match in _ESCAPED_QUOTE_OR_BRACKET.finditer(text):
        sign = match[0]
        if sign == '"':
            in_string = not in_string
        elif not in_string and sign in "[{":
            depth += 1
            if depth > depth_max:
                return True
        elif not in_string and sign in "]}":
            depth -= 1
    return False


def _may_have_far_number(text: str) -> bool:
    """Whether a number in the text may be outside the limits; if not, its numbers need no check,
    which takes longer than all the rest for a long list of numbers."""
    digits = text.encode("utf-8", "replace").translate(_AS_ZEROS)
    return _FAR in digits or b"0e" in digits or b"0E" in digits


def _past_spaces(text: str, place: int) -> int:
    while text[place : place + 1] == " ":
        place += 1
    return place


def _whole_number(text: str) -> int:
    # Checked before int(), whose limit on the number of digits differs between versions of Python.
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
    raise NotJsonError(f"{name} is not JSON")


# Not strict: a \n typed inside a string is already a line break when it arrives here.
_PLAIN = json.JSONDecoder(strict=False, parse_constant=_refuse_constant)
_CHECKING = json.JSONDecoder(
    strict=False, parse_int=_whole_number, parse_float=_fraction, parse_constant=_refuse_constant
)
