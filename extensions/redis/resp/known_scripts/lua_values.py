"""The values of Lua 5.1 in a script of Redis: what it makes of numbers, of replies and of what is
absent. Pure.

A number of Lua is a double, which is the same at every node: no script of the table takes a root or
a logarithm of one.
"""

from __future__ import annotations

import math
import re
from typing import Final, TypeAlias, Union

from ..programs import CommandRefused
from ..replies import Failure, NoList, Pairs, SetReply, Simple, Value, format_double

# None is nil; a status is a `Simple`, an error that was not raised a `Failure`.
LuaValue: TypeAlias = Union[str, float, bool, "list[LuaValue]", None]

NOT_A_WORD: Final = "ERR Lua redis lib command arguments must be strings or integers"
_NUMBER: Final = re.compile(
    r"[ \t\n\v\f\r]*(?P<sign>[+-]?)"
    r"(?:(?P<hex>0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p[+-]?[0-9]+)?)"
    r"|(?P<decimal>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)"
    r"|(?P<name>inf(?:inity)?|nan(?:\([0-9a-z_]*\))?))[ \t\n\v\f\r]*",
    re.ASCII | re.IGNORECASE,
)
_LONG: Final = 1 << 63


def number(value: LuaValue) -> float | None:
    """Return what `tonumber` does."""
    if isinstance(value, float):
        return value
    if not isinstance(value, str):
        return None
    match = _NUMBER.fullmatch(value.partition("\0")[0])  # Lua reads up to a NUL
    if match is None:
        return None
    return -_absolute(match) if match["sign"] == "-" else _absolute(match)


def _absolute(match: re.Match[str]) -> float:
    if match["name"]:
        return float(match["name"][:3])
    try:
        return float.fromhex(match["hex"]) if match["hex"] else float(match["decimal"])
    except OverflowError:
        return math.inf


def arithmetic(value: LuaValue, name: str = "") -> float:
    """Return an operand of `+` or `*`; a name in Lua's words says which one it is, if it has one.

    Raises:
        Refused: it is not a number.
    """
    found = number(value)
    if found is None:
        kind = f"a {_kind(value)} value"
        which = f"{name} ({kind})" if name else kind
        raise CommandRefused(f"ERR user_script: attempt to perform arithmetic on {which}")
    return found


def quotient(one: float, other: float) -> float:
    """Return `math.floor(one / other)`, which may be infinite or no number."""
    if other == 0:
        result = math.copysign(math.inf, one) * math.copysign(1.0, other) if one else math.nan
    else:
        result = one / other
    if math.isnan(one) or math.isnan(result):
        return math.nan  # its sign is not the same on every machine
    return float(math.floor(result)) if math.isfinite(result) else result


def is_less(one: LuaValue, other: LuaValue) -> bool:
    """Whether a number is less than another one.

    Raises:
        Refused: they are not both numbers.
    """
    first, second = _numbers(one, other)
    return first < second


def is_at_most(one: LuaValue, other: LuaValue) -> bool:
    """Whether a number is at most another one.

    Raises:
        Refused: they are not both numbers.
    """
    first, second = _numbers(one, other)
    return first <= second


def _numbers(one: LuaValue, other: LuaValue) -> tuple[float, float]:
    """Return what Lua compares.

    Raises:
        Refused: they are not both numbers. Lua compares strings, too, and no script does.
    """
    if isinstance(one, float) and isinstance(other, float):
        return one, other
    kinds = f"{_kind(one)} with {_kind(other)}"
    if _kind(one) == _kind(other):
        kinds = f"two {_kind(one)} values"
    raise CommandRefused(f"ERR user_script: attempt to compare {kinds}")


def turns_to(limit: LuaValue) -> int:
    """Return how many turns `for i = 1, limit` has.

    Raises:
        Refused: the limit is not a number.
    """
    last = number(limit)
    if last is None:
        raise CommandRefused("ERR user_script: 'for' limit must be a number")
    if math.isnan(last) or last < 1:
        return 0
    return int(min(last, float(_LONG)))


def text_in(value: LuaValue) -> str:
    """Return an operand of `..`, which is a field of a table or a number.

    Raises:
        Refused: it is neither a string nor a number.
    """
    if isinstance(value, float):
        return f"{value:.14g}"
    if isinstance(value, str):
        return value
    raise CommandRefused(
        f"ERR user_script: attempt to concatenate field '?' (a {_kind(value)} value)"
    )


def _kind(value: LuaValue) -> str:
    match value:
        case None:
            return "nil"
        case bool():
            return "boolean"
        case float():
            return "number"
        case list() | Simple():
            return "table"
    return "string"


def word(value: LuaValue) -> str:
    """Return an argument of `redis.call`.

    Raises:
        Refused: it is neither a string nor a number.
    """
    if isinstance(value, float):
        text = f"{value:.17g}"
        return f"-{text}" if math.isnan(value) and math.copysign(1, value) < 0 else text
    if isinstance(value, str) and not isinstance(value, (Simple, Failure)):
        return value
    raise CommandRefused(NOT_A_WORD)


def to_lua(reply: Value) -> LuaValue:
    """Return the reply to a command as a script sees it, which is that of RESP2."""
    match reply:
        case int():
            return float(reply)
        case float():
            return format_double(reply)
        case None | NoList():
            return False
        case list() | SetReply():
            return list(map(to_lua, reply if isinstance(reply, list) else reply.items))
        case Pairs():
            return [to_lua(part) for item in reply.items for part in item]
    assert isinstance(reply, str), "a command on keys"
    return reply


def to_reply(value: LuaValue) -> Value:
    """Return what a script returns as its reply."""
    match value:
        case None | False:
            return None
        case True:
            return 1
        case float():
            return int(value) if -_LONG <= value < _LONG else -_LONG  # as on x86, also NaN
        case list():
            end = value.index(None) if None in value else len(value)
            return [to_reply(each) for each in value[:end]]
    return value
