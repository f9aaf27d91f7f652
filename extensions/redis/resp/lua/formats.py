"""`cjson` and `cmsgpack.unpack`: what scripts read and write besides texts. Pure."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any, Final

from .library import library, text_at
from .values import DEPTH, NULL, ScriptRun, Table, fault, kind_of, number_text, to_number

_DEEP: Final = 100  # values within each other
_FRAMES: Final = 3 * _DEEP  # of Python
_SPARSE: Final = 10  # the largest index of a list that may have many holes
_ESCAPES: Final = {
    **{chr(code): f"\\u{code:04x}" for code in (*range(32), 127)},
    '"': '\\"', "\\": "\\\\", "/": "\\/", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f",
    "\r": "\\r",
}  # fmt: skip
_TO_ESCAPE: Final = re.compile(r'[\x00-\x1f"\\/\x7f]')


def _enter(run: ScriptRun) -> None:
    if run.depth + _FRAMES > DEPTH + _FRAMES // 2:
        raise fault(run.line, "stack overflow")


# --- cjson.encode ---------------------------------------------------------------------------------


def _encode(run: ScriptRun, given: list[Any]) -> list[Any]:
    if len(given) != 1:
        raise fault(run.line, "bad argument #1 to 'encode' (expected 1 argument)")
    _enter(run)
    parts: list[str] = []
    _encode_value(run, given[0], parts, 0)
    return ["".join(parts)]


def _encode_value(run: ScriptRun, value: Any, parts: list[str], deep: int) -> None:
    run.spend(3)
    if type(value) is str:
        parts.append(_encoded_text(run, value))
    elif type(value) is float:
        if value - value != 0:
            raise fault(run.line, "Cannot serialise number: must not be NaN or Inf")
        parts.append(number_text(value))
    elif value is True or value is False:
        parts.append("true" if value else "false")
    elif value is None or value is NULL:
        parts.append("null")
    elif type(value) is Table:
        if deep >= _DEEP:
            raise fault(run.line, f"Cannot serialise, excessive depth ({deep + 1})")
        count = _list_length(run, value)
        if count > 0:
            _encode_list(run, value, count, parts, deep)
        else:
            _encode_object(run, value, parts, deep)
    else:
        raise fault(run.line, f"Cannot serialise {kind_of(value)}: type not supported")


def _encoded_text(run: ScriptRun, text: str) -> str:
    run.spend_bytes(2 * len(text))
    if _TO_ESCAPE.search(text) is None:
        return f'"{text}"'
    run.spend(len(text) >> 2)
    return '"' + _TO_ESCAPE.sub(lambda match: _ESCAPES[match[0]], text) + '"'


def _list_length(run: ScriptRun, table: Table) -> int:
    """Return the largest index of a table that is a list, 0 if it is not one."""
    largest = len(table.array)
    run.spend(len(table.hash))
    for key in table.hash:
        if type(key) is not float or key < 1 or key != int(min(key, 2.0**62)):
            return 0
        largest = max(largest, int(key))
    held = len(table.array) - table.array.count(None) + len(table.hash)
    if largest > _SPARSE and largest > 2 * held:
        raise fault(run.line, "Cannot serialise table: excessively sparse array")
    return largest


def _encode_list(run: ScriptRun, table: Table, count: int, parts: list[str], deep: int) -> None:
    for place in range(1, count + 1):
        parts.append("," if place > 1 else "[")
        _encode_value(run, table.get(float(place)), parts, deep + 1)
    parts.append("]")


def _encode_object(run: ScriptRun, table: Table, parts: list[str], deep: int) -> None:
    mark = "{"
    for key, value in table.items():
        if type(key) is float:
            key = number_text(key)
        if type(key) is not str:
            raise fault(run.line, "Cannot serialise table: table key must be a number or string")
        parts += [mark, _encoded_text(run, key), ":"]
        _encode_value(run, value, parts, deep + 1)
        mark = ","
    parts.append("}" if mark == "," else "{}")


# --- cjson.decode ---------------------------------------------------------------------------------

_BLANK: Final = re.compile(r"[ \t\n\r]*")
_NUMBER: Final = re.compile(  # more than JSON has, as cjson
    r"[-+]?(?:0x[0-9a-f]+|[0-9]+\.?[0-9]*(?:e[-+]?[0-9]+)?|inf(?:inity)?|nan)", re.IGNORECASE
)
_PLAIN: Final = re.compile(r'[^"\\\x00-\x1f]*')
_NAMES: Final = {"true": True, "false": False, "null": NULL}
_TOKENS: Final = {
    ",": "T_COMMA", ":": "T_COLON", "[": "T_ARR_BEGIN", "]": "T_ARR_END", "{": "T_OBJ_BEGIN",
    "}": "T_OBJ_END", '"': "T_STRING", "true": "T_BOOLEAN", "false": "T_BOOLEAN", "null": "T_NULL",
    **{sign + digit: "T_NUMBER" for digit in "0123456789" for sign in ("", "-", "+")},
    "-": "invalid number",
}  # fmt: skip
_MEANT: Final = dict(zip('bfnrt"\\/', '\b\f\n\r\t"\\/', strict=True))
_HEX: Final = re.compile(r"[0-9a-fA-F]{4}")
_PAIR: Final = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})")


def _decode(run: ScriptRun, given: list[Any]) -> list[Any]:
    if len(given) != 1:
        raise fault(run.line, "bad argument #1 to 'decode' (expected 1 argument)")
    text = text_at(run, given, 1, "decode")
    _enter(run)
    run.spend_bytes(4 * len(text))
    return [_Decoder(run, text).decode()]


class _Decoder:
    def __init__(self, run: ScriptRun, text: str) -> None:
        self._run, self._text, self._place = run, text, 0

    def decode(self) -> Any:
        value = self._value(0)
        if self._mark():
            raise self._expected("the end")
        return value

    def _mark(self) -> str:
        """Return the next character that is not a blank."""
        match = _BLANK.match(self._text, self._place)
        self._place = match.end() if match else self._place
        return self._text[self._place : self._place + 1]

    def _expected(self, wanted: str, found: str = "") -> Exception:
        """Return the error at this place, with the name that cjson gives to what is there."""
        names = (
            name for token, name in _TOKENS.items() if self._text.startswith(token, self._place)
        )
        found = found or next(names, "invalid token") if self._place < len(self._text) else "T_END"
        where = f"at character {self._place + 1}"
        return fault(self._run.line, f"Expected {wanted} but found {found} {where}")

    def _value(self, deep: int) -> Any:
        self._run.spend(4)
        mark = self._mark()
        if mark == '"':
            return self._string()
        if mark and mark in "{[":
            if deep >= _DEEP:
                where = f"at character {self._place + 1}"
                raise fault(
                    self._run.line, f"Found too many nested data structures ({deep + 1}) {where}"
                )
            return self._parts(deep, mark)
        for name, value in _NAMES.items():
            if self._text.startswith(name, self._place):
                self._place += len(name)
                return value
        number = _NUMBER.match(self._text, self._place)
        if number is None:
            raise self._expected("value")
        self._place = number.end()
        return to_number(number[0])

    def _parts(self, deep: int, opens: str) -> Table:
        """Read a list, or an object."""
        table, closes, what = (Table(), "]", "array") if opens == "[" else (Table(), "}", "object")
        self._place += 1
        mark = self._mark()
        while mark != closes:
            if opens == "[":
                table.array.append(self._value(deep + 1))
            else:
                self._pair(table, deep)
            mark = self._mark()
            if mark not in (",", closes):
                raise self._expected(f"comma or {what} end")
            if mark == closes:
                break
            self._place += 1
        self._place += 1
        return table

    def _pair(self, table: Table, deep: int) -> None:
        if self._mark() != '"':
            raise self._expected("object key string")
        key = self._string()
        if self._mark() != ":":
            raise self._expected("colon")
        self._place += 1
        table.set(key, self._value(deep + 1))

    def _string(self) -> str:
        begin, parts = self._place, list[str]()
        self._place += 1
        while True:
            plain = _PLAIN.match(self._text, self._place)
            assert plain is not None
            parts.append(plain[0])
            mark = self._text[plain.end() : plain.end() + 1]
            self._place = plain.end() + 1
            if mark == '"':
                return "".join(parts)
            self._run.spend(2)
            escape = self._text[self._place : self._place + 1]
            self._place += 1
            if mark == "\\" and escape == "u" and (code := self._code()) is not None:
                parts.append(chr(code).encode("utf-8", "surrogatepass").decode("latin-1"))
            elif mark == "\\" and escape in _MEANT and escape:
                parts.append(_MEANT[escape])
            else:
                self._place = begin
                raise self._expected("value", "invalid token")

    def _code(self) -> int | None:
        """Return the character of an escape, which may be a pair of two."""
        match = _HEX.match(self._text, self._place)
        if match is None:
            return None
        code = int(match[0], 16)
        self._place = match.end()
        if not 0xD800 <= code <= 0xDFFF:
            return code
        low = _PAIR.match(self._text, self._place)
        if low is None or code >= 0xDC00:
            return None
        self._place = low.end()
        return 0x10000 + ((code - 0xD800) << 10) + int(low[1], 16) - 0xDC00


# --- cmsgpack.unpack ------------------------------------------------------------------------------

_FIXED: Final = {  # the format of a number, by its first byte
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h",
    0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_SIZED: Final = {  # what follows the size, by the first byte, and the format of that
    0xC4: ("text", ">B"), 0xC5: ("text", ">H"), 0xC6: ("text", ">I"),
    0xD9: ("text", ">B"), 0xDA: ("text", ">H"), 0xDB: ("text", ">I"),
    0xDC: ("list", ">H"), 0xDD: ("list", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I"),
}  # fmt: skip
_SINGLE: Final = {0xC0: None, 0xC2: False, 0xC3: True}


def _unpack(run: ScriptRun, given: list[Any]) -> list[Any]:
    data = text_at(run, given, 1, "unpack").encode("latin-1")
    _enter(run)
    run.spend_bytes(4 * len(data))
    unpacker, values = _Unpacker(run, data), list[Any]()
    while unpacker.place < len(data):
        values.append(unpacker.value(0))
    return values


class _Unpacker:
    def __init__(self, run: ScriptRun, data: bytes) -> None:
        self._run, self._data, self.place = run, data, 0

    def _take(self, count: int) -> bytes:
        part = self._data[self.place : self.place + count]
        if len(part) < count:
            raise fault(self._run.line, "Missing bytes in input.")
        self.place += count
        return part

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def value(self, deep: int) -> Any:
        """Return the next value."""
        self._run.spend(4)
        if deep > _DEEP:
            raise fault(self._run.line, "Bad data format in input.")
        first = self._take(1)[0]
        if first < 0x80 or first >= 0xE0:
            return float(first if first < 0x80 else first - 256)
        if first in _FIXED:
            return float(self._number(_FIXED[first]))
        if first in _SINGLE:
            return _SINGLE[first]
        if first in _SIZED:
            kind, form = _SIZED[first]
            return _READ[kind](self, self._number(form), deep)
        if first < 0xC0:
            kind = "map" if first < 0x90 else "list" if first < 0xA0 else "text"
            return _READ[kind](self, first & (15 if first < 0xA0 else 31), deep)
        raise fault(self._run.line, "Bad data format in input.")

    def text(self, size: int, deep: int) -> str:
        """Return a text of so many bytes."""
        return self._take(size).decode("latin-1")

    def list(self, count: int, deep: int) -> Table:
        """Return a list of so many values."""
        table = Table()
        for place in range(1, count + 1):
            table.set(float(place), self.value(deep + 1))
        return table

    def map(self, count: int, deep: int) -> Table:
        """Return a map of so many pairs."""
        table = Table()
        for _ in range(count):
            key = self.value(deep + 1)
            table.set(key, self.value(deep + 1), self._run.line)
        return table


_READ: Final[dict[str, Callable[[_Unpacker, int, int], Any]]] = {
    "text": _Unpacker.text, "list": _Unpacker.list, "map": _Unpacker.map,
}  # fmt: skip
FORMATS: Final[dict[Any, Any]] = {
    "cjson": library({"encode": _encode, "decode": _decode, "null": NULL}),
    "cmsgpack": library({"unpack": _unpack}),
}
