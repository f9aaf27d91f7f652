"""The values of Lua 5.1, and the account of one run. Pure.

nil is None, a number a float, and a string a str whose characters are bytes. The keys of a table
are in the order in which they came, so that a traversal is the same at each node.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

DEPTH: Final = 2000  # frames of Python that a script may take
SLICE: Final = 2048  # steps between two looks at the ledger
CHUNK: Final = 4  # a step is as long as 2 ** CHUNK bytes that are copied or compared
_NUMBER: Final = re.compile(
    r"[ \t\n\v\f\r]*(?P<sign>[+-]?)"
    r"(?:(?P<hex>0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p[+-]?[0-9]+)?)"
    r"|(?P<decimal>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)"
    r"|(?P<name>inf(?:inity)?|nan(?:\([0-9a-z_]*\))?))[ \t\n\v\f\r]*",
    re.ASCII | re.IGNORECASE,
)


class LuaError(Exception):
    """An error that `pcall` catches. Its value is any value of Lua."""

    def __init__(self, value: Any, line: int = 0) -> None:
        super().__init__(value)
        self.value = value
        self.line = line


class SyntaxFault(Exception):
    """A text that is not a script."""


class ScriptHost(Protocol):
    """The store, as a script sees it."""

    def call(self, run: ScriptRun, words: list[str]) -> Any:
        """Return the reply to a command, as a value of Lua; an error is a table."""

    def works(self, steps: int) -> None:
        """Count steps; too many end the run by an exception that is not a `LuaError`."""


def fault(line: int, text: str) -> LuaError:
    """Return an error at a line, 0 if none is known."""
    return LuaError(f"user_script:{line}: {text}" if line else text, line)


class BoolKey:
    """The key for true or false: in Python these equal 1 and 0."""

    __slots__ = ("value",)

    def __init__(self, value: bool) -> None:
        self.value = value


_FLAGS: Final = (BoolKey(False), BoolKey(True))


class Table:
    """A table: the values of 1, 2, ... in `array`, the last of which is not nil, and the rest."""

    __slots__ = ("_order", "_places", "array", "hash", "is_fixed")

    def __init__(self, array: list[Any] | None = None, fields: dict[Any, Any] | None = None):
        self.array: list[Any] = [] if array is None else array
        self.hash: dict[Any, Any] = {} if fields is None else fields
        self.is_fixed = False  # a library, which no script changes
        self._order: list[Any] = []  # of the traversal by `next` that began last
        self._places: dict[Any, int] = {}

    def get(self, key: Any) -> Any:
        """Return the value of a key, None if it is absent."""
        if type(key) is float:
            array = self.array
            if 1.0 <= key <= len(array) and (place := int(key)) == key:
                return array[place - 1]
        elif type(key) is bool:
            key = _FLAGS[key]
        return self.hash.get(key)

    def set(self, key: Any, value: Any, line: int = 0) -> None:
        """Set a key, or remove it by nil.

        Raises:
            LuaError: it cannot be a key, or the table is read-only.
        """
        if self.is_fixed:
            raise fault(line, "Attempt to modify a readonly table")
        if type(key) is float:
            if 1.0 <= key <= len(self.array) + 1 and (place := int(key)) == key:
                self._set_item(place, value)
                return
            if key != key:
                raise fault(line, "table index is NaN")
        elif key is None:
            raise fault(line, "table index is nil")
        elif type(key) is bool:
            key = _FLAGS[key]
        if value is None:
            self.hash.pop(key, None)
        else:
            self.hash[key] = value

    def _set_item(self, place: int, value: Any) -> None:
        array = self.array
        if place <= len(array):
            array[place - 1] = value
            if value is None and place == len(array):
                while array and array[-1] is None:
                    array.pop()
        elif value is not None:
            array.append(value)
            while self.hash and (after := float(len(array) + 1)) in self.hash:
                array.append(self.hash.pop(after))

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Yield the keys and values; during the traversal, values may change or be removed."""
        for place in range(len(self.array)):
            if place < len(self.array) and (value := self.array[place]) is not None:
                yield float(place + 1), value
        for key in list(self.hash):
            if (value := self.hash.get(key)) is not None:
                yield key.value if type(key) is BoolKey else key, value

    def next(self, run: ScriptRun, key: Any) -> list[Any]:
        """Return the key after this one and its value.

        Raises:
            LuaError: the table does not have the key.
        """
        place = 0
        if type(key) is float and 1.0 <= key <= len(self.array) and key == int(key):
            place = int(key)
        if key is None or place:
            for at in range(place, len(self.array)):
                if (value := self.array[at]) is not None:
                    return [float(at + 1), value]
            run.spend(len(self.hash))
            self._order = list(self.hash)
            self._places = {each: at for at, each in enumerate(self._order)}
            place = 0
        else:
            held = self._places.get(_FLAGS[key] if type(key) is bool else key)
            if held is None:
                raise fault(run.line, "invalid key to 'next'")
            place = held + 1
        for at in range(place, len(self._order)):
            run.spend(1)
            found = self._order[at]
            if (value := self.hash.get(found)) is not None:
                return [found.value if type(found) is BoolKey else found, value]
        return [None]


class Builtin:
    """A function of a library."""

    __slots__ = ("name", "run")

    def __init__(self, name: str, run: Callable[[ScriptRun, list[Any]], list[Any]]) -> None:
        self.name = name
        self.run = run


class Null:
    """`cjson.null`."""


NULL: Final = Null()


class ScriptRun:
    """One run of a script: its account, its globals and its store."""

    __slots__ = ("depth", "globals", "host", "left", "line", "seed", "shift")

    def __init__(self, host: ScriptHost, globals_: dict[Any, Any]) -> None:
        self.host = host
        self.globals = globals_
        self.left = SLICE  # steps of this slice
        self.depth = 0  # frames of Python
        self.line = 0  # at which the present function of a library was called
        self.shift = 0  # 1 if it was called as a method, whose object counts as no argument
        self.seed = 0x330E  # of `math.random`, as in Redis

    def spend(self, steps: int) -> None:
        """Count steps before they are taken."""
        self.left -= steps
        if self.left < 0:
            self.settle()

    def spend_bytes(self, count: int) -> None:
        """Count bytes before they are made, or compared."""
        self.left -= count >> CHUNK
        if self.left < 0:
            self.settle()

    def settle(self) -> None:
        """Enter the steps since the last time into the ledger."""
        spent, self.left = SLICE - self.left, SLICE
        self.host.works(spent)


def kind_of(value: Any) -> str:
    """Return the name of a value's type."""
    return "nil" if value is None else _KINDS.get(type(value), "function")


_KINDS: Final = {str: "string", float: "number", Table: "table", bool: "boolean", Null: "userdata"}


def number_text(value: float) -> str:
    """Return a number as `tostring` does."""
    if value != value:
        return "-nan"  # whose sign differs between machines
    return f"{value:.14g}"


def to_number(value: Any) -> float | None:
    """Return the number of a value, None if it has none."""
    if type(value) is float:
        return value
    if type(value) is not str:
        return None
    match = _NUMBER.fullmatch(value.partition("\0")[0])  # Lua reads up to a NUL
    if match is None:
        return None
    if match["name"]:
        found = float(match["name"][:3])
    else:
        try:
            found = float.fromhex(match["hex"]) if match["hex"] else float(match["decimal"])
        except OverflowError:
            found = math.inf
    return -found if match["sign"] == "-" else found


def is_true(value: Any) -> bool:
    """Return whether a condition takes a value for true."""
    return value is not None and value is not False
