"""The libraries of Lua 5.1 that a script may use: basic functions, strings, tables, numbers, bits.
Pure.

A function takes the run and a list of arguments, and returns a list of results.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from .machine import Closure, invoke, less, power
from .patterns import Matcher, directive, format_number, pattern_of, quoted, whole_of
from .values import (
    CHUNK,
    Builtin,
    LuaError,
    ScriptRun,
    Table,
    fault,
    is_true,
    kind_of,
    number_text,
    to_number,
)

Function = Callable[[ScriptRun, list[Any]], list[Any]]
UNPACKED: Final = 8000  # values of a call
_LONGEST: Final = 1 << 28  # bytes of a text
_SEED_MASK: Final = (1 << 48) - 1
_CHANCES: Final = (1 << 31) - 1


# --- arguments ------------------------------------------------------------------------------------


def bad(run: ScriptRun, place: int, name: str, problem: str) -> LuaError:
    """Return the error for an argument; the first has the place 1."""
    place -= run.shift
    if not place:
        return fault(run.line, f"calling '{name}' on bad self ({problem})")
    return fault(run.line, f"bad argument #{place} to '{name}' ({problem})")


def _wanted(run: ScriptRun, given: list[Any], place: int, name: str, kind: str) -> LuaError:
    found = kind_of(given[place - 1]) if place <= len(given) else "no value"
    return bad(run, place, name, f"{kind} expected, got {found}")


def text_at(run: ScriptRun, given: list[Any], place: int, name: str) -> str:
    """Return a text.

    Raises:
        LuaError: the argument is neither a string nor a number.
    """
    found = given[place - 1] if place <= len(given) else None
    if type(found) is str:
        return found
    if type(found) is float:
        return number_text(found)
    raise _wanted(run, given, place, name, "string")


def number_at(
    run: ScriptRun, given: list[Any], place: int, name: str, default: float | None = None
) -> float:
    """Return a number.

    Raises:
        LuaError: the argument is not one.
    """
    found = given[place - 1] if place <= len(given) else None
    if type(found) is float:
        return found
    if found is None and default is not None:
        return default
    number = to_number(found)
    if number is None:
        raise _wanted(run, given, place, name, "number")
    return number


def whole_at(
    run: ScriptRun, given: list[Any], place: int, name: str, default: float | None = None
) -> int:
    """Return a number as C converts it to a whole one."""
    return whole_of(number_at(run, given, place, name, default))


def table_at(run: ScriptRun, given: list[Any], place: int, name: str) -> Table:
    """Return a table.

    Raises:
        LuaError: the argument is not one.
    """
    found = given[place - 1] if place <= len(given) else None
    if type(found) is not Table:
        raise _wanted(run, given, place, name, "table")
    return found


def any_at(run: ScriptRun, given: list[Any], place: int, name: str) -> Any:
    """Return an argument, which may be nil.

    Raises:
        LuaError: there are too few.
    """
    if place > len(given):
        raise bad(run, place, name, "value expected")
    return given[place - 1]


def call_back(run: ScriptRun, function: Any, arguments: list[Any]) -> list[Any]:
    """Call a function that a function of a library was given."""
    line, shift, run.shift = run.line, run.shift, 0
    results = invoke(run, function, arguments, line)
    run.line, run.shift = line, shift
    return results


# --- basic functions ------------------------------------------------------------------------------


def _type(run: ScriptRun, given: list[Any]) -> list[Any]:
    return [kind_of(any_at(run, given, 1, "type"))]


def text_of(value: Any) -> str:
    """Return a value as `tostring` does; no two nodes may differ by an address."""
    if type(value) is str:
        return value
    if type(value) is float:
        return number_text(value)
    if value is None or type(value) is bool:
        return {None: "nil", True: "true", False: "false"}[value]
    return f"{kind_of(value)}: 0x0"


def _tostring(run: ScriptRun, given: list[Any]) -> list[Any]:
    return [text_of(any_at(run, given, 1, "tostring"))]


def _tonumber(run: ScriptRun, given: list[Any]) -> list[Any]:
    base = whole_at(run, given, 2, "tonumber", 10.0)
    if base == 10:
        value = any_at(run, given, 1, "tonumber")
        run.spend_bytes(len(value) if type(value) is str else 0)
        return [to_number(value)]
    text = text_at(run, given, 1, "tonumber").strip(" \t\n\v\f\r").lower()
    run.spend(len(text))
    if not 2 <= base <= 36:
        raise bad(run, 2, "tonumber", "base out of range")
    is_negative, digits = text.startswith("-"), text.removeprefix("-")
    if base == 16:
        digits = digits.removeprefix("0x")
    known = "0123456789abcdefghijklmnopqrstuvwxyz"[:base]
    if not digits or not set(digits) <= set(known):
        return [None]
    found = min(int(digits, base) if len(digits) < 65 else 1 << 64, (1 << 64) - 1)
    return [float(-found % (1 << 64) if is_negative else found)]


def _assert(run: ScriptRun, given: list[Any]) -> list[Any]:
    if is_true(any_at(run, given, 1, "assert")):
        return given
    message = given[1] if len(given) > 1 else None
    text = "assertion failed!" if message is None else text_at(run, given, 2, "assert")
    raise LuaError(text, run.line)


def _error(run: ScriptRun, given: list[Any]) -> list[Any]:
    value = given[0] if given else None
    level = whole_at(run, given, 2, "error", 1.0)
    if type(value) is float:
        value = number_text(value)
    if type(value) is str and level > 0:
        raise fault(run.line, value)
    raise LuaError(value, run.line)


def _pcall(run: ScriptRun, given: list[Any]) -> list[Any]:
    function, depth = any_at(run, given, 1, "pcall"), run.depth
    run.depth += 4
    try:
        results = invoke(run, function, given[1:], 0)
    except LuaError as error:
        run.depth, run.shift = depth, 0
        run.spend(8)
        return [False, error.value]
    run.depth = depth
    return [True, *results]


def _xpcall(run: ScriptRun, given: list[Any]) -> list[Any]:
    results = _pcall(run, given[:1])
    if results[0] is False:
        return [False, *call_back(run, any_at(run, given, 2, "xpcall"), results[1:])]
    return results


def _next(run: ScriptRun, given: list[Any]) -> list[Any]:
    return table_at(run, given, 1, "next").next(run, given[1] if len(given) > 1 else None)


def _pairs(run: ScriptRun, given: list[Any]) -> list[Any]:
    return [NEXT, table_at(run, given, 1, "pairs"), None]


def _ipairs_next(run: ScriptRun, given: list[Any]) -> list[Any]:
    place = float(whole_at(run, given, 2, "ipairs") + 1)
    value = table_at(run, given, 1, "ipairs").get(place)
    return [None] if value is None else [place, value]


def _ipairs(run: ScriptRun, given: list[Any]) -> list[Any]:
    return [_IPAIRS_NEXT, table_at(run, given, 1, "ipairs"), 0.0]


def _select(run: ScriptRun, given: list[Any]) -> list[Any]:
    if given and given[0] == "#":
        return [float(len(given) - 1)]
    place = whole_at(run, given, 1, "select")
    if place < 0:
        place += len(given)
    if place < 1:
        raise bad(run, 1, "select", "index out of range")
    run.spend(len(given) >> 2)
    return given[place:]


def _unpack(run: ScriptRun, given: list[Any]) -> list[Any]:
    table = table_at(run, given, 1, "unpack")
    first = whole_at(run, given, 2, "unpack", 1.0)
    last = whole_at(run, given, 3, "unpack", float(len(table.array)))
    if last - first >= UNPACKED:
        raise fault(run.line, "too many results to unpack")
    run.spend(max(0, last - first))
    return [table.get(float(place)) for place in range(first, last + 1)]


def _rawequal(run: ScriptRun, given: list[Any]) -> list[Any]:
    one, other = any_at(run, given, 1, "rawequal"), any_at(run, given, 2, "rawequal")
    return [type(one) is type(other) and bool(one == other)]


def _rawget(run: ScriptRun, given: list[Any]) -> list[Any]:
    return [table_at(run, given, 1, "rawget").get(any_at(run, given, 2, "rawget"))]


def _rawset(run: ScriptRun, given: list[Any]) -> list[Any]:
    key, value = any_at(run, given, 2, "rawset"), any_at(run, given, 3, "rawset")
    table_at(run, given, 1, "rawset").set(key, value, run.line)
    return [given[0]]


# --- strings --------------------------------------------------------------------------------------


def _len(run: ScriptRun, given: list[Any]) -> list[Any]:
    return [float(len(text_at(run, given, 1, "len")))]


def _range(first: int, last: int, length: int) -> tuple[int, int]:
    """Return the bounds of a part as Python counts them."""
    if first < 0:
        first = max(first + length + 1, 1)
    if last < 0:
        last += length + 1
    return max(first, 1) - 1, min(last, length)


def _sub(run: ScriptRun, given: list[Any]) -> list[Any]:
    text = text_at(run, given, 1, "sub")
    first, last = whole_at(run, given, 2, "sub"), whole_at(run, given, 3, "sub", -1.0)
    begin, end = _range(first, last, len(text))
    run.spend_bytes(max(0, end - begin))
    return [text[begin:end] if begin < end else ""]


def _changed(name: str, change: Callable[[bytes], bytes]) -> Function:
    def run_it(run: ScriptRun, given: list[Any]) -> list[Any]:
        text = text_at(run, given, 1, name)
        run.spend_bytes(4 * len(text))
        return [change(text.encode("latin-1")).decode("latin-1")]

    return run_it


def _rep(run: ScriptRun, given: list[Any]) -> list[Any]:
    text, count = text_at(run, given, 1, "rep"), max(0, whole_at(run, given, 2, "rep"))
    if count * len(text) > _LONGEST:
        raise fault(run.line, "resulting string too large")
    run.spend_bytes(count * len(text))
    return [text * count if text else ""]


def _byte(run: ScriptRun, given: list[Any]) -> list[Any]:
    text, first = text_at(run, given, 1, "byte"), whole_at(run, given, 2, "byte", 1.0)
    begin, end = _range(first, whole_at(run, given, 3, "byte", float(first)), len(text))
    if end - begin >= UNPACKED:
        raise fault(run.line, "string slice too long")
    run.spend(max(0, end - begin))
    return [float(ord(mark)) for mark in text[begin : max(begin, end)]]


def _char(run: ScriptRun, given: list[Any]) -> list[Any]:
    codes = [whole_at(run, given, place + 1, "char") for place in range(len(given))]
    run.spend(len(codes))
    for place, code in enumerate(codes):
        if not 0 <= code <= 255:
            raise bad(run, place + 1, "char", "invalid value")
    return ["".join(map(chr, codes))]


def _found(run: ScriptRun, given: list[Any], name: str) -> list[Any]:
    """Return the first match, and where it is if a text is searched."""
    text, wanted = text_at(run, given, 1, name), text_at(run, given, 2, name)
    begin = whole_at(run, given, 3, name, 1.0)
    begin = min(max(begin + len(text) + 1 if begin < 0 else begin, 1) - 1, len(text))
    is_find = name == "find"
    if is_find and ((len(given) > 3 and is_true(given[3])) or not set("^$*+?.([%-") & set(wanted)):
        run.spend_bytes(4 * (len(text) - begin + len(wanted)))
        _count_search(run, text, wanted)
        place = text.find(wanted, begin)
        return [None] if place < 0 else [float(place + 1), float(place + len(wanted))]
    pattern = pattern_of(run, wanted)
    matcher = Matcher(run, text, pattern)
    for place in range(begin, begin + 1 if pattern.is_anchored else len(text) + 1):
        end = matcher.match(place)
        if end >= 0:
            if not is_find:
                return matcher.values(place, end)
            captured = matcher.values(place, end) if matcher.captures else []
            return [float(place + 1), float(end), *captured]
    return [None]


def _count_search(run: ScriptRun, text: str, wanted: str) -> None:
    """Count a search for a long text, which may compare much of it at each place."""
    if len(wanted) > 1 << CHUNK:
        run.spend((len(text) * min(len(wanted), 1 << 10)) >> (2 * CHUNK))


def _gmatch(run: ScriptRun, given: list[Any]) -> list[Any]:
    text, wanted = text_at(run, given, 1, "gmatch"), text_at(run, given, 2, "gmatch")
    pattern = pattern_of(run, wanted)
    if pattern.is_anchored:  # there, `^` is an ordinary character
        pattern = pattern_of(run, f"%{wanted}")
    places = [0]

    def following(run: ScriptRun, _: list[Any]) -> list[Any]:
        matcher = Matcher(run, text, pattern)
        for place in range(places[0], len(text) + 1):
            end = matcher.match(place)
            if end >= 0:
                places[0] = end + (end == place)
                return matcher.values(place, end)
        places[0] = len(text) + 1
        return [None]

    return [Builtin("gmatch_next", following)]


def _gsub(run: ScriptRun, given: list[Any]) -> list[Any]:
    text, wanted = text_at(run, given, 1, "gsub"), text_at(run, given, 2, "gsub")
    by = given[2] if len(given) > 2 else None
    if type(by) is float:
        by = number_text(by)
    if type(by) not in (str, Table, Closure, Builtin):
        raise bad(run, 3, "gsub", "string/function/table expected")
    most = whole_at(run, given, 4, "gsub", float(len(text) + 1))
    pattern = pattern_of(run, wanted)
    matcher, parts, place, count = Matcher(run, text, pattern), list[str](), 0, 0
    while count < most:
        end = matcher.match(place)
        if end >= 0:
            count += 1
            parts.append(_replaced(run, matcher, by, place, end))
        if end > place:
            place = end
        elif place < len(text):
            parts.append(text[place])
            place += 1
        else:
            break
        if pattern.is_anchored:
            break
    parts.append(text[place:])
    run.spend_bytes(sum(map(len, parts)) + 16 * len(parts))
    return ["".join(parts), float(count)]


def _replaced(run: ScriptRun, matcher: Matcher, by: Any, begin: int, end: int) -> str:
    """Return what takes the place of a match."""
    values, whole = matcher.values(begin, end), matcher.text(begin, end)
    if type(by) is str:
        return _filled(run, by, values, whole)
    if type(by) is Table:
        found = by.get(values[0])
    else:
        results = call_back(run, by, values)
        found = results[0] if results else None
    if not is_true(found):
        return whole
    if type(found) is float:
        return number_text(found)
    if type(found) is not str:
        raise fault(run.line, f"invalid replacement value (a {kind_of(found)})")
    run.spend_bytes(len(found))
    return found


def _filled(run: ScriptRun, by: str, values: list[Any], whole: str) -> str:
    """Return the text of a replacement with its captures."""
    if "%" not in by:
        run.spend_bytes(len(by))
        return by
    parts: list[str] = []
    place = 0
    while place < len(by):
        mark, place = by[place], place + 1
        if mark == "%":
            mark, place = by[place : place + 1], place + 1
            if mark == "0":
                mark = whole
            elif mark.isdigit():
                if int(mark) > len(values):
                    raise fault(run.line, "invalid capture index")
                mark = text_of(values[int(mark) - 1])
        run.spend(1)
        run.spend_bytes(len(mark))
        parts.append(mark)
    return "".join(parts)


def _format(run: ScriptRun, given: list[Any]) -> list[Any]:
    text, place, parts = text_at(run, given, 1, "format"), 1, list[str]()
    at = 0
    while (mark := text.find("%", at)) >= 0:
        parts.append(text[at:mark])
        if text.startswith("%", mark + 1):
            parts.append("%")
            at = mark + 2
            continue
        flags, letter, at = directive(run, text, mark + 1)
        place += 1
        parts.append(_formatted(run, given, place, flags, letter))
        run.spend(4 + (len(parts[-1]) >> CHUNK))
    parts.append(text[at:])
    run.spend_bytes(len(text))
    return ["".join(parts)]


def _formatted(run: ScriptRun, given: list[Any], place: int, flags: str, letter: str) -> str:
    if letter not in "qs":
        return format_number(flags, letter, number_at(run, given, place, "format"))
    text = text_at(run, given, place, "format")
    if letter == "q":
        run.spend(len(text))
        return quoted(text)
    run.spend_bytes(len(text))
    if "." not in flags and len(text) >= 100:
        return text
    return f"%{flags.replace('0', '') if '.' not in flags else flags}s" % text


# --- tables ---------------------------------------------------------------------------------------


def _concat(run: ScriptRun, given: list[Any]) -> list[Any]:
    table = table_at(run, given, 1, "concat")
    between = text_at(run, given, 2, "concat") if len(given) > 1 and given[1] is not None else ""
    first = whole_at(run, given, 3, "concat", 1.0)
    last = whole_at(run, given, 4, "concat", float(len(table.array)))
    parts: list[str] = []
    for place in range(first, last + 1):
        value = table.get(float(place))
        if type(value) is float:
            value = number_text(value)
        if type(value) is not str:
            kind = kind_of(value)
            problem = f"invalid value ({kind}) at index {place} in table for 'concat'"
            raise fault(run.line, problem)
        run.spend(1 + ((len(value) + len(between)) >> CHUNK))
        parts.append(value)
    return [between.join(parts)]


def _insert(run: ScriptRun, given: list[Any]) -> list[Any]:
    table = table_at(run, given, 1, "insert")
    count = len(table.array)
    if len(given) == 2:
        table.set(float(count + 1), given[1], run.line)
        return []
    if len(given) != 3:
        raise fault(run.line, "wrong number of arguments to 'insert'")
    place = whole_at(run, given, 2, "insert")
    run.spend(max(0, count - place) >> 3)
    if 1 <= place <= count and not table.is_fixed and given[2] is not None:
        table.array.insert(place - 1, given[2])
        while table.hash and (after := float(len(table.array) + 1)) in table.hash:
            table.array.append(table.hash.pop(after))
        return []
    for at in range(count + 1, place, -1):
        run.spend(1)
        table.set(float(at), table.get(float(at - 1)), run.line)
    table.set(float(place), given[2], run.line)
    return []


def _remove(run: ScriptRun, given: list[Any]) -> list[Any]:
    table = table_at(run, given, 1, "remove")
    count = len(table.array)
    place = whole_at(run, given, 2, "remove", float(count))
    if not 1 <= place <= count:
        return []
    run.spend((count - place) >> 3)
    if table.is_fixed:
        raise fault(run.line, "Attempt to modify a readonly table")
    found = table.array.pop(place - 1)
    while table.array and table.array[-1] is None:
        table.array.pop()
    return [found]


def _sort(run: ScriptRun, given: list[Any]) -> list[Any]:
    table = table_at(run, given, 1, "sort")
    by = given[1] if len(given) > 1 else None
    if by is not None and type(by) not in (Closure, Builtin):
        raise _wanted(run, given, 2, "sort", "function")
    if table.is_fixed:
        raise fault(run.line, "Attempt to modify a readonly table")
    values, line = table.array, run.line
    kinds = set(map(type, values))
    if by is None and len(kinds) == 1 and kinds <= {float, str} and not _has_nan(values):
        run.spend(sum([1 + (len(each) >> 3 if type(each) is str else 0) for each in values])
                  * len(values).bit_length())  # fmt: skip
        values.sort()
        return []

    def comes_first(one: Any, other: Any) -> bool:
        run.spend(4)
        if by is None:
            return less(run, one, other, line)
        results = call_back(run, by, [one, other])
        return bool(results) and is_true(results[0])

    _Sorting(values, comes_first, line).sort(0, len(values) - 1)
    while values and values[-1] is None:
        values.pop()
    return []


def _has_nan(values: list[Any]) -> bool:
    return any([each != each for each in values])


class _Sorting:
    """The quicksort of Lua 5.1: equal values end where Redis puts them."""

    def __init__(self, values: list[Any], less_: Callable[[Any, Any], bool], line: int) -> None:
        self._values, self._less, self._line = values, less_, line

    def _at(self, place: int) -> Any:
        """Return a value; a comparison that changes the table may have removed it."""
        return self._values[place] if 0 <= place < len(self._values) else None

    def _swap(self, one: int, other: int) -> None:
        if max(one, other) < len(self._values):
            values = self._values
            values[one], values[other] = values[other], values[one]

    def sort(self, low: int, high: int) -> None:
        """Sort the values between two places. The smaller half is sorted by recursion, which
        therefore is not deep."""
        less_, at = self._less, self._at
        while low < high:
            if less_(at(high), at(low)):
                self._swap(low, high)
            if high - low == 1:
                return
            middle = (low + high) // 2
            if less_(at(middle), at(low)):
                self._swap(middle, low)
            elif less_(at(high), at(middle)):
                self._swap(middle, high)
            if high - low == 2:
                return
            place = self._parted(low, high, at(middle), middle)
            if place - low < high - place:
                self.sort(low, place - 1)
                low = place + 1
            else:
                self.sort(place + 1, high)
                high = place - 1

    def _parted(self, low: int, high: int, pivot: Any, middle: int) -> int:
        """Part the values by one of them, and return its place."""
        self._swap(middle, high - 1)
        left, right = low, high - 1
        while True:
            left += 1
            while self._less(self._at(left), pivot):
                if left > high:
                    raise fault(self._line, "invalid order function for sorting")
                left += 1
            right -= 1
            while self._less(pivot, self._at(right)):
                if right < low:
                    raise fault(self._line, "invalid order function for sorting")
                right -= 1
            if right < left:
                break
            self._swap(left, right)
        self._swap(high - 1, left)
        return left


def _getn(run: ScriptRun, given: list[Any]) -> list[Any]:
    return [float(len(table_at(run, given, 1, "getn").array))]


# --- numbers and bits -----------------------------------------------------------------------------


def _of_number(name: str, compute: Callable[[float], float]) -> Function:
    """Return a function of one number, which no two machines round differently."""
    return lambda run, given: [compute(number_at(run, given, 1, name))]


def _whole(convert: Callable[[float], int]) -> Callable[[float], float]:
    return lambda number: float(convert(number)) if math.isfinite(number) else number


def _of_two(name: str, compute: Callable[[float, float], float]) -> Function:
    def run_it(run: ScriptRun, given: list[Any]) -> list[Any]:
        other, one = number_at(run, given, 2, name), number_at(run, given, 1, name)  # as in C
        try:
            return [compute(one, other)]
        except LuaError as error:
            raise fault(run.line, error.value) from None

    return run_it


def _fmod(one: float, other: float) -> float:
    return math.nan if math.isinf(one) or not other else math.fmod(one, other)


def _extreme(name: str, is_better: Callable[[float, float], bool]) -> Function:
    def run_it(run: ScriptRun, given: list[Any]) -> list[Any]:
        best = number_at(run, given, 1, name)
        run.spend(len(given) >> 1)
        for place in range(2, len(given) + 1):
            number = number_at(run, given, place, name)
            best = number if is_better(number, best) else best
        return [best]

    return run_it


def _modf(run: ScriptRun, given: list[Any]) -> list[Any]:
    number = number_at(run, given, 1, "modf")
    if not math.isfinite(number):
        return [number, number if number != number else 0.0]
    return [float(math.trunc(number)), math.fmod(number, 1.0)]


def _random(run: ScriptRun, given: list[Any]) -> list[Any]:
    """The generator of Redis, so a script gets the same numbers here."""
    run.seed = (run.seed * 0x5DEECE66D + 0xB) & _SEED_MASK
    chance = (run.seed >> 17) % _CHANCES / _CHANCES
    if not given:
        return [chance]
    if len(given) > 2:
        raise fault(run.line, "wrong number of arguments")
    low = whole_at(run, given, 1, "random") if len(given) == 2 else 1
    high = whole_at(run, given, len(given), "random")
    if low > high:
        raise bad(run, len(given), "random", "interval is empty")
    return [float(math.floor(chance * (high - low + 1)) + low)]


def _randomseed(run: ScriptRun, given: list[Any]) -> list[Any]:
    run.seed = (whole_at(run, given, 1, "randomseed") % (1 << 32) << 16) + 0x330E
    return []


def _refused(name: str) -> Function:
    def refuse(run: ScriptRun, given: list[Any]) -> list[Any]:
        raise fault(run.line, f"'{name}' is not supported here: machines round it differently")

    return refuse


def _bits(run: ScriptRun, given: list[Any], place: int, name: str) -> int:
    number = number_at(run, given, place, name)
    return round(number) % (1 << 32) if math.isfinite(number) else 0


def _signed(bits: int) -> list[Any]:
    bits &= (1 << 32) - 1
    return [float(bits - (1 << 32) if bits >> 31 else bits)]


def _of_bits(name: str, combine: Callable[[int, int], int]) -> Function:
    def run_it(run: ScriptRun, given: list[Any]) -> list[Any]:
        found = _bits(run, given, 1, name)
        for place in range(2, len(given) + 1):
            found = combine(found, _bits(run, given, place, name))
        return _signed(found)

    return run_it


def _shifting(name: str, shift: Callable[[int, int], int]) -> Function:
    def run_it(run: ScriptRun, given: list[Any]) -> list[Any]:
        return _signed(shift(_bits(run, given, 1, name), _bits(run, given, 2, name) & 31))

    return run_it


def _bswap(run: ScriptRun, given: list[Any]) -> list[Any]:
    bits = _bits(run, given, 1, "bswap")
    return _signed(int.from_bytes(bits.to_bytes(4, "little"), "big"))


def _tohex(run: ScriptRun, given: list[Any]) -> list[Any]:
    bits, digits = _bits(run, given, 1, "tohex"), whole_at(run, given, 2, "tohex", 8.0)
    text = f"{bits:08x}"[-min(abs(digits), 8) :] if digits else ""
    return [text.upper() if digits < 0 else text]


def _rotated(bits: int, by: int) -> int:
    return (bits << by) | (bits >> (32 - by))


# --- the tables -----------------------------------------------------------------------------------


def library(functions: dict[str, Any]) -> Table:
    """Return a library, which no script may change."""
    fields = {
        name: value if isinstance(value, (Table, float, str)) or not callable(value)
        else Builtin(name, value)
        for name, value in functions.items()
    }  # fmt: skip
    table = Table(fields=dict(fields))
    table.is_fixed = True
    return table


NEXT: Final = Builtin("next", _next)
_IPAIRS_NEXT: Final = Builtin("ipairs_next", _ipairs_next)
_MATH: Final[dict[str, Any]] = {
    "floor": _of_number("floor", _whole(math.floor)), "ceil": _of_number("ceil", _whole(math.ceil)),
    "abs": _of_number("abs", abs), "sqrt": _of_number("sqrt", lambda number: power(number, 0.5)),
    "max": _extreme("max", lambda one, other: one > other),
    "min": _extreme("min", lambda one, other: one < other),
    "fmod": _of_two("fmod", _fmod), "mod": _of_two("fmod", _fmod), "modf": _modf,
    "pow": _of_two("pow", power),
    "random": _random, "randomseed": _randomseed, "huge": math.inf, "pi": math.pi,
    **{name: _refused(name) for name in ("exp", "log", "log10", "sin", "cos", "tan")},
}  # fmt: skip
_BIT: Final[dict[str, Any]] = {
    "tobit": _of_bits("tobit", lambda one, other: one),
    "bnot": lambda run, given: _signed(~_bits(run, given, 1, "bnot")),
    "band": _of_bits("band", lambda one, other: one & other),
    "bor": _of_bits("bor", lambda one, other: one | other),
    "bxor": _of_bits("bxor", lambda one, other: one ^ other),
    "lshift": _shifting("lshift", lambda bits, by: bits << by),
    "rshift": _shifting("rshift", lambda bits, by: bits >> by),
    "arshift": _shifting("arshift", lambda bits, by: int(_signed(bits)[0]) >> by),
    "rol": _shifting("rol", _rotated),
    "ror": _shifting("ror", lambda bits, by: _rotated(bits, -by & 31)),
    "bswap": _bswap, "tohex": _tohex,
}  # fmt: skip
LIBRARIES: Final[dict[Any, Any]] = {
    **library({
        "type": _type, "tostring": _tostring, "tonumber": _tonumber, "assert": _assert,
        "error": _error, "pcall": _pcall, "xpcall": _xpcall, "next": NEXT, "pairs": _pairs,
        "ipairs": _ipairs, "select": _select, "unpack": _unpack, "rawequal": _rawequal,
        "rawget": _rawget, "rawset": _rawset, "_VERSION": "Lua 5.1",
    }).hash,
    "string": library({
        "len": _len, "sub": _sub, "rep": _rep, "lower": _changed("lower", bytes.lower),
        "upper": _changed("upper", bytes.upper),
        "reverse": _changed("reverse", lambda text: text[::-1]), "byte": _byte, "char": _char,
        "find": lambda run, given: _found(run, given, "find"),
        "match": lambda run, given: _found(run, given, "match"),
        "gmatch": _gmatch, "gsub": _gsub, "format": _format,
    }),
    "table": library({"concat": _concat, "insert": _insert, "remove": _remove, "sort": _sort,
                      "getn": _getn}),
    "math": library(_MATH),
    "bit": library(_BIT),
}  # fmt: skip
