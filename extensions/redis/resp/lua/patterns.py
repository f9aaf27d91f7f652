"""The patterns of Lua, matched with counted steps, and `string.format`. Pure."""

from __future__ import annotations

import math
import re
import string
from functools import lru_cache
from typing import Any, Final, NamedTuple

from .values import DEPTH, ScriptRun, fault

_ITEMS: Final = 100  # of a pattern
_CAPTURES: Final = 32
_CACHED: Final = 200  # characters of a pattern that is kept
_BYTES: Final = frozenset(map(chr, range(256)))
_CLASSES: Final = {
    "a": frozenset(string.ascii_letters), "d": frozenset(string.digits),
    "l": frozenset(string.ascii_lowercase), "u": frozenset(string.ascii_uppercase),
    "s": frozenset(" \t\n\v\f\r"), "w": frozenset(string.ascii_letters + string.digits),
    "x": frozenset(string.hexdigits), "p": frozenset(string.punctuation),
    "c": frozenset([*map(chr, range(32)), "\x7f"]), "z": frozenset("\0"),
}  # fmt: skip


class Item(NamedTuple):
    """A part of a pattern: `one` character of a set, with what repeats it, or another part."""

    kind: str  # "one", "open", "place", "close", "back", "balance", "frontier", or "end"
    chars: frozenset[str] = frozenset()
    repeat: str = ""
    text: str = ""


class LuaPattern(NamedTuple):
    """A pattern that was read."""

    items: tuple[Item, ...]
    is_anchored: bool


class BadPatternError(Exception):
    """A pattern with a mistake."""


class _PatternReader:
    def __init__(self, text: str) -> None:
        self._text, self._place = text, 0

    def read(self) -> LuaPattern:
        text = self._text
        is_anchored = text.startswith("^")
        self._place = int(is_anchored)
        items: list[Item] = []
        while self._place < len(text):
            items.append(self._item())
            if len(items) > _ITEMS:
                raise BadPatternError("pattern too complex")
        self._check_captures(items)
        return LuaPattern(tuple(items), is_anchored)

    @staticmethod
    def _check_captures(items: list[Item]) -> None:
        opened: list[int] = []
        closed: set[int] = set()
        count = 0
        for item in items:
            if item.kind in ("open", "place"):
                if count >= _CAPTURES:
                    raise BadPatternError("too many captures")
                if item.kind == "open":
                    opened.append(count)
                else:
                    closed.add(count)
                count += 1
            elif item.kind == "close":
                if not opened:
                    raise BadPatternError("invalid pattern capture")
                closed.add(opened.pop())
            elif item.kind == "back" and int(item.text) - 1 not in closed:
                raise BadPatternError("invalid capture index")
        if opened:
            raise BadPatternError("unfinished capture")

    def _next(self) -> str:
        mark = self._text[self._place : self._place + 1]
        self._place += 1
        return mark

    def _item(self) -> Item:
        mark, rest = self._next(), self._text[self._place :]
        if mark == "(":
            if rest.startswith(")"):
                self._place += 1
                return Item("place")
            return Item("open")
        if mark == ")":
            return Item("close")
        if mark == "$" and not rest:
            return Item("end")
        if (mark == "%" and rest[:1] in ("b", "f")) or (mark == "%" and rest[:1].isdigit()):
            return self._special(self._next())
        chars = self._set() if mark == "[" else self._single(mark)
        repeat = self._text[self._place : self._place + 1]
        if repeat and repeat in "*+-?":
            self._place += 1
            return Item("one", chars, repeat)
        return Item("one", chars)

    def _special(self, mark: str) -> Item:
        if mark == "b":
            if self._place + 2 > len(self._text):
                raise BadPatternError("missing arguments to '%b'")
            return Item("balance", text=self._next() + self._next())
        if mark == "f":
            if self._next() != "[":
                raise BadPatternError("missing '[' after '%f' in pattern")
            return Item("frontier", self._set())
        if mark == "0":
            raise BadPatternError("invalid capture index")
        return Item("back", text=mark)

    def _single(self, mark: str) -> frozenset[str]:
        if mark == ".":
            return _BYTES
        if mark != "%":
            return frozenset(mark)
        name = self._next()
        if not name:
            raise BadPatternError("malformed pattern (ends with '%')")
        if name.lower() not in _CLASSES:
            return frozenset(name)
        found = _CLASSES[name.lower()]
        return found if name.islower() else _BYTES - found

    def _set(self) -> frozenset[str]:
        is_inverse = self._text.startswith("^", self._place)
        self._place += is_inverse
        found: set[str] = set()
        is_first = True
        while True:
            mark = self._next()
            if not mark:
                raise BadPatternError("malformed pattern (missing ']')")
            if mark == "]" and not is_first:
                break
            is_first = False
            after = self._text[self._place : self._place + 2]
            if mark == "%":
                found |= self._single(mark)
            elif len(after) == 2 and after[0] == "-" and after[1] != "]":
                self._place += 2
                found.update(map(chr, range(ord(mark), ord(after[1]) + 1)))
            else:
                found.add(mark)
        return frozenset(_BYTES - found if is_inverse else found)


def _read(text: str) -> LuaPattern:
    return _PatternReader(text).read()


_read_short: Final = lru_cache(maxsize=256)(_read)


def pattern_of(run: ScriptRun, text: str) -> LuaPattern:
    """Return a pattern.

    Raises:
        LuaError: it has a mistake.
    """
    run.spend(8 + 4 * len(text))
    try:
        return _read_short(text) if len(text) <= _CACHED else _read(text)
    except BadPatternError as problem:
        raise fault(run.line, str(problem)) from None


class Matcher:
    """One attempt to match a pattern at each place of a text."""

    def __init__(self, run: ScriptRun, text: str, pattern: LuaPattern) -> None:
        if run.depth + 2 * len(pattern.items) > DEPTH:
            raise fault(run.line, "pattern too complex")
        self._run = run
        self._text = text
        self._items = pattern.items
        self.captures: list[tuple[int, int]] = []  # begin and length; -1: open, -2: a place

    def match(self, begin: int) -> int:
        """Return the end of a match that begins here, -1 if there is none."""
        self.captures = []
        return self._match(begin, 0)

    def _match(self, place: int, at: int) -> int:
        """Match the items from this one on."""
        items, text, run = self._items, self._text, self._run
        while at < len(items):
            run.spend(2)
            item = items[at]
            at += 1
            if item.kind != "one":
                if item.kind in ("open", "place", "close"):
                    return self._captured(item, place, at)
                place = self._other(item, place)
                if place < 0:
                    return -1
                continue
            fits = place < len(text) and text[place] in item.chars
            if item.repeat == "":
                if not fits:
                    return -1
                place += 1
            elif item.repeat == "?":
                if fits and (end := self._match(place + 1, at)) >= 0:
                    return end
            elif item.repeat == "-":
                return self._shortest(item, place, at)
            else:
                return self._longest(item, place, at) if fits or item.repeat == "*" else -1
        return place

    def _longest(self, item: Item, place: int, at: int) -> int:
        text, end = self._text, place
        while end < len(text) and text[end] in item.chars:
            end += 1
        self._run.spend((end - place) >> 1)
        if at == len(self._items):
            return end
        for last in range(end, place + (item.repeat == "+") - 1, -1):
            found = self._match(last, at)
            if found >= 0:
                return found
        return -1

    def _shortest(self, item: Item, place: int, at: int) -> int:
        text = self._text
        while True:
            found = self._match(place, at)
            if found >= 0:
                return found
            if place >= len(text) or text[place] not in item.chars:
                return -1
            place += 1

    def _captured(self, item: Item, place: int, at: int) -> int:
        """Open or close a capture, and take that back if the rest does not match."""
        captures = self.captures
        if item.kind != "close":
            captures.append((place, -1 if item.kind == "open" else -2))
            found = self._match(place, at)
            if found < 0:
                captures.pop()
            return found
        which = max(each for each, (_, length) in enumerate(captures) if length == -1)
        begin = captures[which][0]
        captures[which] = (begin, place - begin)
        found = self._match(place, at)
        if found < 0:
            captures[which] = (begin, -1)
        return found

    def _other(self, item: Item, place: int) -> int:
        """Return the end of an item that has one way to match, -1 if it does not."""
        text = self._text
        if item.kind == "end":
            return place if place == len(text) else -1
        if item.kind == "frontier":
            before = text[place - 1] if place else "\0"
            after = text[place] if place < len(text) else "\0"
            return place if before not in item.chars and after in item.chars else -1
        if item.kind == "back":
            begin, length = self.captures[int(item.text) - 1]
            part = text[begin : begin + max(0, length)]
            self._run.spend_bytes(len(part))
            return place + len(part) if text.startswith(part, place) else -1
        return self._balanced(item.text[0], item.text[1], place)

    def _balanced(self, opens: str, closes: str, place: int) -> int:
        text, depth = self._text, 0
        if not text.startswith(opens, place):
            return -1
        for at in range(place, len(text)):
            self._run.spend(1)
            if text[at] == closes and at > place:
                depth -= 1
                if not depth:
                    return at + 1
            elif text[at] == opens:
                depth += 1
        return -1

    def values(self, begin: int, end: int) -> list[Any]:
        """Return the captures, or the whole match if there are none."""
        self._run.spend(len(self.captures))
        return list(map(self._value, self.captures)) or [self._text[begin:end]]

    def text(self, begin: int, end: int) -> str:
        """Return a part of the text."""
        self._run.spend_bytes(end - begin)
        return self._text[begin:end]

    def _value(self, capture: tuple[int, int]) -> Any:
        begin, length = capture
        if length == -2:
            return float(begin + 1)
        self._run.spend_bytes(length)
        return self._text[begin : begin + length]


# --- string.format --------------------------------------------------------------------------------

_DIRECTIVE: Final = re.compile(r"([-+ #0]*)([0-9]*)(?:\.([0-9]*))?(.?)", re.DOTALL)
_QUOTED: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\\n", "\r": "\\r", "\0": "\\000"}


def whole_of(number: float) -> int:
    """Return a number as C converts it to 64 bits."""
    if math.isfinite(number) and -(2.0**63) <= number < 2.0**63:
        return int(number)
    return -(1 << 63)


def directive(run: ScriptRun, text: str, place: int) -> tuple[str, str, int]:
    """Return the flags of the directive at a place, its letter, and its end.

    Raises:
        LuaError: it is not one.
    """
    match = _DIRECTIVE.match(text, place)
    assert match is not None
    flags, width, precision, letter = match.groups()
    if len(flags) > 5:
        raise fault(run.line, "invalid format (repeated flags)")
    if len(width) > 2 or len(precision or "") > 2:
        raise fault(run.line, "invalid format (width or precision too long)")
    if not letter or letter not in "cdiouxXeEfgGqs":
        raise fault(run.line, f"invalid option '%{letter}' to 'format'")
    flags += width + ("" if precision is None else f".{precision}")
    return flags, letter, match.end()


def format_number(flags: str, letter: str, number: float) -> str:
    """Return a number as C prints it."""
    if letter == "c":
        return f"%{flags.partition('.')[0].replace('0', '')}s" % chr(whole_of(number) & 255)
    if letter in "di":
        return f"%{flags}d" % whole_of(number)
    if letter in "ouxX":
        return f"%{flags}{'d' if letter == 'u' else letter}" % (whole_of(number) % (1 << 64))
    if number != number:
        number, flags = math.nan, flags.replace("0", " ", 1) if flags.startswith("0") else flags
        return f"%{flags}{letter}" % number if flags else "-nan"
    return f"%{flags}{letter}" % number


def quoted(text: str) -> str:
    """Return a text as Lua reads it back."""
    return '"' + "".join([_QUOTED.get(mark, mark) for mark in text]) + '"'
