"""The commands of Redis on strings, as functions of a view. Pure."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import Final, NamedTuple

from raftline.wire.protocol import size_of

from .programs import INTEGER_MAX, CommandRefused, in_capitals, integer, joined, raw, text_of
from .replies import OK, OVERFLOW, SYNTAX, Failure, Value
from .times import Times, time_option
from .types.typed import STRING
from .view import View

NOT_FLOAT: Final = Failure("ERR value is not a valid float")
NOT_FINITE: Final = Failure("ERR increment would produce NaN or Infinity")
TOO_LONG: Final = Failure("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
LENGTH_MAX: Final = 512 << 20  # as in Redis; the limit of a value is far below
_DIGITS: Final = 17  # after the point, as in Redis
_FLOAT_MAX: Final = 5 << 10  # characters, as in Redis: a longer text is no number
_EXPONENT_MAX: Final = 20_000  # above it, a number of so many digits is beyond all others
_LARGEST: Final = Decimal("1e308")
# Each node computes the same, whatever a program has set for its own decimals.
_EXACT: Final = Context(
    prec=40, rounding=ROUND_HALF_EVEN, Emin=-99_999, Emax=99_999, capitals=1, clamp=0,
    flags=[], traps=[],
)  # fmt: skip
_NUMBER: Final = re.compile(
    r"(?P<sign>[+-]?)(?:(?P<infinity>inf(?:inity)?)"
    r"|(?P<digits>[0-9]+\.?[0-9]*|\.[0-9]+)(?:e(?:\+|(?P<falls>-))?(?P<exponent>[0-9]+))?)",
    re.ASCII | re.IGNORECASE,
)


class SetOptions(NamedTuple):
    """The options of `SET`."""

    times: Times = Times()
    condition: str = ""  # NX, XX, IFEQ or IFNE
    value: str = ""  # of IFEQ or IFNE
    gets: bool = False


def set_options(words: list[str], now_ms: int) -> SetOptions:
    """Return the options after `SET KEY VALUE`.

    Raises:
        Refused: an option is unknown, or contradicts another one.
    """
    times, condition, value, gets = Times(), "", "", False
    place = 0
    while place < len(words):
        word = in_capitals(words[place])
        argument = words[place + 1] if place + 1 < len(words) else None
        place += 1
        if word == "GET":
            gets = True
        elif word in ("NX", "XX", "IFEQ", "IFNE") and not condition:
            condition = word
            if word.startswith("IF"):
                if argument is None:
                    raise CommandRefused(SYNTAX)
                value = argument
                place += 1
        else:
            times, used = time_option(times, word, argument, "set", now_ms)
            place += used
    return SetOptions(times, condition, value, gets)


def holds(options: SetOptions, current: str | None, *, exists: bool) -> bool:
    """Whether the condition of a `SET` holds for the value of the key."""
    match options.condition:
        case "NX":
            return not exists
        case "XX":
            return exists
        case "IFEQ":
            return current == options.value
        case "IFNE":
            return current != options.value
    return True


def set_value(view: View, words: list[str]) -> Value:
    """SET KEY VALUE [NX|XX|IFEQ V|IFNE V] [GET] [EX S|PX MS|EXAT S|PXAT MS|KEEPTTL]"""
    options, key = set_options(words[3:], view.now_ms), words[1]
    current = view.get(key) if options.gets or options.condition.startswith("IF") else None
    if not holds(options, current, exists=bool(options.condition) and view.has(key)):
        return current if options.gets else None
    if options.times.keeps:
        view.amend(key, words[2])
    else:
        view.set(key, words[2])
        if options.times.left_ms is not None:
            view.expire(key, options.times.left_ms)
    return current if options.gets else OK


def getset(view: View, words: list[str]) -> Value:
    """GETSET KEY VALUE"""
    before = view.get(words[1])
    view.set(words[1], words[2])
    return before


def getdel(view: View, words: list[str]) -> Value:
    """GETDEL KEY"""
    before = view.get(words[1])
    view.delete(words[1])
    return before


def getex(view: View, words: list[str]) -> Value:
    """GETEX KEY [EX S|PX MS|EXAT S|PXAT MS|PERSIST]"""
    times = getex_times(words, view.now_ms)
    value = view.get(words[1])
    if value is not None and times.left_ms is not None:
        view.expire(words[1], times.left_ms)
    elif value is not None and times.ends:
        view.expire(words[1], None)
    return value


def getex_times(words: list[str], now_ms: int) -> Times:
    """Return the option of a `GETEX`.

    Raises:
        Refused: it is unknown, or there are several.
    """
    times, place = Times(), 2
    while place < len(words):
        argument = words[place + 1] if place + 1 < len(words) else None
        times, used = time_option(times, in_capitals(words[place]), argument, "getex", now_ms)
        place += 1 + used
    return times


def setnx(view: View, words: list[str]) -> Value:
    """SETNX KEY VALUE"""
    if view.has(words[1]):
        return 0
    view.set(words[1], words[2])
    return 1


def mget(view: View, words: list[str]) -> Value:
    """MGET KEY [KEY ...]"""
    return [view.get(key) if view.type_of(key) == STRING else None for key in words[1:]]


def mset(view: View, words: list[str]) -> Value:
    """MSET KEY VALUE [KEY VALUE ...]"""
    for key, value in pairs_of(words):
        view.set(key, value)
    return OK


def msetnx(view: View, words: list[str]) -> Value:
    """MSETNX KEY VALUE [KEY VALUE ...]"""
    pairs = pairs_of(words)
    if any([view.has(key) for key, _ in pairs]):
        return 0
    mset(view, words)
    return 1


def pairs_of(words: list[str]) -> list[tuple[str, str]]:
    """Return the keys and values of an `MSET`.

    Raises:
        Refused: a value is missing.
    """
    if len(words) % 2 == 0:
        name = words[0].lower()
        raise CommandRefused(f"ERR wrong number of arguments for '{name}' command")
    return list(zip(words[1::2], words[2::2], strict=True))


def append(view: View, words: list[str]) -> Value:
    """APPEND KEY VALUE"""
    whole = joined(view.get(words[1]) or "", words[2])
    view.amend(words[1], whole)
    return size_of(whole)


def strlen(view: View, words: list[str]) -> Value:
    """STRLEN KEY"""
    return size_of(view.get(words[1]) or "")


def getrange(view: View, words: list[str]) -> Value:
    """GETRANGE KEY START END"""
    begin, end = integer(words[2]), integer(words[3])
    return part_of(view.get(words[1]) or "", begin, end)


def part_of(text: str, begin: int, end: int) -> str:
    """Return the bytes from one place to another, both included; negative ones count from the
    end."""
    data = raw(text)
    size = len(data)
    if begin < 0 and end < 0 and begin > end:
        return ""
    begin = max(0, begin + size if begin < 0 else begin)
    end = min(max(0, end + size if end < 0 else end), size - 1)
    return text_of(data[begin : end + 1]) if begin <= end else ""


def setrange(view: View, words: list[str]) -> Value:
    """SETRANGE KEY OFFSET VALUE"""
    offset, key, new = integer(words[2]), words[1], raw(words[3])
    if offset < 0:
        raise CommandRefused("ERR offset is out of range")
    data = raw(view.get(key) or "")
    if not new:
        return len(data)
    if offset + len(new) > LENGTH_MAX:
        raise CommandRefused(TOO_LONG)
    if offset + len(new) > view.limits.value_bytes:
        size = offset + len(new)
        raise CommandRefused(
            f"ERR the value would have {size} bytes; the limit is {view.limits.value_bytes}"
        )
    data = data.ljust(offset, b"\0")
    data = data[:offset] + new + data[offset + len(new) :]
    view.amend(key, text_of(data))
    return len(data)


def add(view: View, key: str, by: int) -> Value:
    """Add a number to the number in a key."""
    text = view.get(key)
    number = 0 if text is None else integer(text)
    if not -INTEGER_MAX <= number + by <= INTEGER_MAX:
        raise CommandRefused(OVERFLOW)
    view.amend(key, str(number + by))
    return number + by


def increment_of(words: list[str]) -> int:
    """Return the number that an `INCR`, `INCRBY`, `DECR` or `DECRBY` adds.

    Raises:
        Refused: it is not a number.
    """
    by = integer(words[2]) if len(words) > 2 else 1
    if words[0].upper().startswith("INCR"):
        return by
    if by < -INTEGER_MAX:
        raise CommandRefused("ERR decrement would overflow")
    return -by


def incr(view: View, words: list[str]) -> Value:
    """INCR KEY, INCRBY KEY NUMBER, DECR KEY, DECRBY KEY NUMBER"""
    return add(view, words[1], increment_of(words))


def incrbyfloat(view: View, words: list[str]) -> Value:
    """INCRBYFLOAT KEY NUMBER"""
    result = sum_of_floats(view.get(words[1]), words[2], NOT_FLOAT)
    view.amend(words[1], result)
    return result


def sum_of_floats(
    text: str | None, by: str, wrong: Failure, not_finite: Failure = NOT_FINITE
) -> str:
    """Return the sum of two numbers; the first is 0 if it is None.

    Raises:
        Refused: one is not a number, the first with the error `wrong`, or the sum is `not_finite`.
    """
    with localcontext(_EXACT):  # formatting uses the context of the thread
        step = _decimal(by, NOT_FLOAT)
        total = (Decimal(0) if text is None else _decimal(text, wrong)) + step
        if not total.is_finite() or abs(total) > _LARGEST:
            raise CommandRefused(not_finite)
        return _formatted(total)


def _decimal(text: str, wrong: Failure) -> Decimal:
    """Return the number in a text. Its exponent is bounded, since some builds of Python have other
    bounds than others; what is beyond these is beyond all numbers, or nothing to add."""
    match = _NUMBER.fullmatch(text) if len(text) < _FLOAT_MAX else None
    if match is None:
        raise CommandRefused(wrong)
    if match["infinity"]:
        return Decimal("Infinity") if match["sign"] != "-" else Decimal("-Infinity")
    digits = match["exponent"].lstrip("0") if match["exponent"] else ""
    exponent = min(int(digits or 0) if len(digits) < 9 else _EXPONENT_MAX, _EXPONENT_MAX)
    return Decimal(f"{match['sign']}{match['digits']}E{match['falls'] or ''}{exponent}")


def _formatted(number: Decimal) -> str:
    """Return a number with at most 17 digits after the point, without zeros at the end."""
    text = f"{number:.{_DIGITS}f}"
    text = text.rstrip("0").removesuffix(".")
    return "0" if text == "-0" else text
