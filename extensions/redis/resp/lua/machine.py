"""A script as closures: how values are computed, called and compared. Pure.

A frame is a list: the run, the captured variables, the values of `...`, and then the locals. A
local that an inner function captures is a list of one, which both hold. The closure of an
expression returns its value; that of a statement returns None, `BREAK`, or a list of results.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from .values import (
    CHUNK,
    DEPTH,
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

Frame = list[Any]
Expr = Callable[[Frame], Any]
BREAK: Final = object()
FIRST: Final = 3  # the place of the first local


class Proto:
    """A function as it was read."""

    __slots__ = ("body", "boxed", "cost", "count", "pad", "takes_rest")

    def __init__(self) -> None:
        self.count = 0  # of parameters
        self.takes_rest = False  # it has `...`
        self.boxed: list[int] = []  # the parameters that are captured
        self.pad: list[None] = []  # the other locals
        self.cost = 0  # frames of Python
        self.body: Expr = _nothing


def _nothing(frame: Frame) -> None:
    return None


class Closure:
    """A function with its captured variables."""

    __slots__ = ("proto", "ups")

    def __init__(self, proto: Proto, ups: list[list[Any]]) -> None:
        self.proto = proto
        self.ups = ups


class Local:
    """A local variable: its place in the frame, and whether an inner function captures it."""

    __slots__ = ("is_captured", "name", "place")

    def __init__(self, name: str, place: int) -> None:
        self.name, self.place, self.is_captured = name, place, False


# Frames of Python that a part takes besides those of its own parts; a comprehension is one, too.
_FRAMES: Final = {"table": 3, "return": 3, "for": 4, "assign": 3, "local": 3, "concat": 2}


class SyntaxNode:
    """A part of a script. Its closure is made when the whole function was read: only then is it
    known which locals are captured."""

    __slots__ = ("depth", "every", "kind", "make", "steps", "value")

    def __init__(
        self,
        kind: str,
        make: Callable[[], Expr],
        parts: list[SyntaxNode],
        value: Any = None,
        every: Callable[[], Expr] | None = None,
    ) -> None:
        self.kind = kind
        self.make = make  # for one value
        self.every = every  # for a list of all values, if there may be several
        self.value = value
        own = 4 if every is not None else _FRAMES.get(kind, 1)
        self.depth: int = own + max([part.depth for part in parts], default=0)
        self.steps: int = 1 + sum([part.steps for part in parts])


# --- calls ----------------------------------------------------------------------------------------


def invoke(
    run: ScriptRun, function: Any, arguments: list[Any], line: int, name: str = ""
) -> list[Any]:
    """Call a function and return its results.

    Raises:
        LuaError: it fails, or it is not a function.
    """
    if type(function) is Closure:
        proto = function.proto
        run.depth += proto.cost
        if run.depth > DEPTH:
            raise fault(line, "stack overflow")
        extra = len(arguments) - proto.count
        rest = arguments[proto.count :] if extra > 0 and proto.takes_rest else []
        if extra > 0:
            arguments = arguments[: proto.count]
        frame = [run, function.ups, rest, *arguments, *[None] * -extra, *proto.pad]
        for place in proto.boxed:
            frame[place] = [frame[place]]
        found = proto.body(frame)
        run.depth -= proto.cost
        return [] if found is None else found
    if type(function) is Builtin:
        run.line = line
        return function.run(run, arguments)
    raise fault(line, about_value("call", function, name))


def about_value(what: str, value: Any, name: str) -> str:
    """Return why a value cannot be an operand, and how the script names it."""
    kind = f"a {kind_of(value)} value"
    return f"attempt to {what} {name} ({kind})" if name else f"attempt to {what} {kind}"


def name_of(node: SyntaxNode) -> str:
    """Return what an error calls an expression."""
    match node.kind:
        case "local" | "upvalue" | "global":
            return f"{node.kind} '{node.value}'"
        case "index":
            return f"field '{node.value}'"
    return ""


def all_of(nodes: list[SyntaxNode]) -> Expr:
    """Return the closure for all values of a list of expressions."""
    if nodes and nodes[-1].every is not None:
        before, last = [node.make() for node in nodes[:-1]], nodes[-1].every()
        if not before:
            return last
        return lambda frame: [each(frame) for each in before] + last(frame)
    rows = [node.make() for node in nodes]
    if len(rows) == 1:
        (one,) = rows
        return lambda frame: [one(frame)]
    if len(rows) == 2:
        one, two = rows
        return lambda frame: [one(frame), two(frame)]
    return lambda frame: [each(frame) for each in rows]


def _first_of(every: Callable[[], Expr]) -> Callable[[], Expr]:
    def make() -> Expr:
        values = every()

        def first(frame: Frame) -> Any:
            found = values(frame)
            return found[0] if found else None

        return first

    return make


def call(function: SyntaxNode, arguments: list[SyntaxNode], line: int) -> SyntaxNode:
    """FUNCTION(ARGUMENT, ...)"""

    def every() -> Expr:
        callee, values, name = function.make(), all_of(arguments), name_of(function)
        return lambda frame: invoke(frame[0], callee(frame), values(frame), line, name)

    return SyntaxNode("call", _first_of(every), [function, *arguments], every=every)


def method(owner: SyntaxNode, name: str, arguments: list[SyntaxNode], line: int) -> SyntaxNode:
    """OWNER:NAME(ARGUMENT, ...)"""

    def every() -> Expr:
        holder, values, about = owner.make(), all_of(arguments), name_of(owner)

        def run_method(frame: Frame) -> list[Any]:
            found, run = holder(frame), frame[0]
            function = _indexed(run, found, name, line, about)
            given = [found, *values(frame)]
            if type(function) is not Builtin:
                return invoke(run, function, given, line, f"method '{name}'")
            run.shift = 1
            results = invoke(run, function, given, line)
            run.shift = 0
            return results

        return run_method

    return SyntaxNode("call", _first_of(every), [owner, *arguments], every=every)


def varargs() -> SyntaxNode:
    """..."""

    def every() -> Expr:
        def values(frame: Frame) -> list[Any]:
            frame[0].spend(len(frame[2]))
            return list(frame[2])

        return values

    return SyntaxNode("varargs", _first_of(every), [], every=every)


def single(inner: SyntaxNode) -> SyntaxNode:
    """(EXPRESSION)"""
    return SyntaxNode("single" if inner.every else inner.kind, inner.make, [inner], inner.value)


# --- variables ------------------------------------------------------------------------------------


def constant(value: Any) -> SyntaxNode:
    """A number, a string, a truth value or nil."""
    return SyntaxNode("constant", lambda: lambda frame: value, [], value)


def local_name(local: Local) -> SyntaxNode:
    """The value of a local."""

    def make() -> Expr:
        place = local.place
        if local.is_captured:
            return lambda frame: frame[place][0]
        return lambda frame: frame[place]

    return SyntaxNode("local", make, [], local.name)


def up_name(place: int, name: str) -> SyntaxNode:
    """The value of a captured variable."""
    return SyntaxNode("upvalue", lambda: lambda frame: frame[1][place][0], [], name)


def global_name(name: str, line: int) -> SyntaxNode:
    """The value of a global, which must exist."""

    def get(frame: Frame) -> Any:
        found = frame[0].globals.get(name)
        if found is None:
            what = f"Script attempted to access nonexistent global variable '{name}'"
            raise fault(line, what)
        return found

    return SyntaxNode("global", lambda: get, [], name)


def index(owner: SyntaxNode, key: SyntaxNode, line: int) -> SyntaxNode:
    """OWNER[KEY]"""
    is_field = key.kind == "constant" and type(key.value) is str
    field = key.value if is_field else "?"

    def make() -> Expr:
        table, name, at = owner.make(), name_of(owner), key.make()

        def by_name(frame: Frame) -> Any:
            found = table(frame)
            if type(found) is Table:
                return found.hash.get(field)
            return _indexed(frame[0], found, field, line, name)

        def by_value(frame: Frame) -> Any:
            found = table(frame)
            if type(found) is Table:
                return found.get(at(frame))
            return _indexed(frame[0], found, at(frame), line, name)

        return by_name if is_field else by_value

    return SyntaxNode("index", make, [owner, key], field)


def _indexed(run: ScriptRun, owner: Any, key: Any, line: int, name: str) -> Any:
    if type(owner) is Table:
        return owner.get(key)
    if type(owner) is str:
        return run.globals["string"].get(key)
    raise fault(line, about_value("index", owner, name))


# --- operators ------------------------------------------------------------------------------------


def divided(one: float, other: float) -> float:
    """Return a quotient as IEEE 754 has it."""
    if other:
        return one / other
    if one != one or not one:
        return math.nan
    return math.copysign(math.inf, one) * math.copysign(1.0, other)


def modulo(one: float, other: float) -> float:
    """Return `one - math.floor(one / other) * other`, as Lua 5.1 computes it."""
    quotient = divided(one, other)
    if quotient != quotient or math.isinf(quotient):
        return math.nan
    return one - math.floor(quotient) * other if math.isfinite(other) else one - 0.0 * one


def power(one: float, other: float) -> float:
    """Return a power by multiplications alone, which no two machines round differently.

    Raises:
        LuaError: the exponent is neither whole nor a half.
    """
    if other == 0.5:
        return math.sqrt(one) if one >= 0 else math.nan
    if not math.isfinite(other) or other != math.floor(other):
        raise LuaError("a power whose exponent is not a whole number is not supported here")
    found, factor, left = 1.0, one, int(min(abs(other), 2.0**62))
    while left:
        if left & 1:
            found *= factor
        factor *= factor
        left >>= 1
    return found if other >= 0 else divided(1.0, found)


_ARITHMETIC: Final[dict[str, Callable[[float, float], float]]] = {
    "+": lambda one, other: one + other,
    "-": lambda one, other: one - other,
    "*": lambda one, other: one * other,
    "/": divided,
    "%": modulo,
    "^": power,
}


def _operand(value: Any, name: str, line: int) -> float:
    number = to_number(value)
    if number is None:
        raise fault(line, about_value("perform arithmetic on", value, name))
    return number


def _arithmetic(sign: str, left: SyntaxNode, right: SyntaxNode, line: int) -> SyntaxNode:
    compute, names = _ARITHMETIC[sign], (name_of(left), name_of(right))

    def slowly(frame: Frame, first: Any, second: Any) -> float:
        for each in (first, second):
            frame[0].spend_bytes(len(each) if type(each) is str else 0)
        if to_number(first) is not None:  # Lua blames the second one first
            second = _operand(second, names[1], line)
        try:
            return compute(_operand(first, names[0], line), second)
        except LuaError as error:
            raise error if error.line else fault(line, error.value) from None

    def make() -> Expr:
        one, other = left.make(), right.make()

        def plus(frame: Frame) -> float:
            first, second = one(frame), other(frame)
            if type(first) is float and type(second) is float:
                return first + second
            return slowly(frame, first, second)

        def calculate(frame: Frame) -> float:
            first, second = one(frame), other(frame)
            if type(first) is float and type(second) is float and sign != "^":
                return compute(first, second)
            return slowly(frame, first, second)

        return plus if sign == "+" else calculate

    return SyntaxNode(sign, make, [left, right])


def _comparison(sign: str, left: SyntaxNode, right: SyntaxNode, line: int) -> SyntaxNode:
    def make() -> Expr:
        one, other = left.make(), right.make()
        orders = at_most if "=" in sign else less
        if sign.startswith("<"):
            return lambda frame: orders(frame[0], one(frame), other(frame), line)

        def turned(frame: Frame) -> bool:
            first = one(frame)
            return orders(frame[0], other(frame), first, line)

        return turned

    return SyntaxNode(sign, make, [left, right])


def less(run: ScriptRun, one: Any, other: Any, line: int) -> bool:
    """Return whether a value is less than another one.

    Raises:
        LuaError: they are not both numbers, or both strings.
    """
    if type(one) is float and type(other) is float:
        return one < other
    if type(one) is str and type(other) is str:
        run.spend_bytes(min(len(one), len(other)))
        return one < other
    raise _unequal(one, other, line)


def at_most(run: ScriptRun, one: Any, other: Any, line: int) -> bool:
    """Return whether a value is at most another one, likewise."""
    if type(one) is float and type(other) is float:
        return one <= other
    if type(one) is not type(other):
        raise _unequal(one, other, line)
    return not less(run, other, one, line)


def _unequal(one: Any, other: Any, line: int) -> LuaError:
    first, second = kind_of(one), kind_of(other)
    kinds = f"two {first} values" if first == second else f"{first} with {second}"
    return fault(line, f"attempt to compare {kinds}")


def equals(run: ScriptRun, one: Any, other: Any) -> bool:
    """Return whether two values are equal, without a conversion."""
    if type(one) is not type(other):
        return False
    if type(one) is str and len(one) == len(other) > 1 << CHUNK:
        run.spend_bytes(len(one))
    return bool(one == other)


def _equality(sign: str, left: SyntaxNode, right: SyntaxNode, line: int) -> SyntaxNode:
    def make() -> Expr:
        one, other = left.make(), right.make()
        if sign == "==":
            return lambda frame: equals(frame[0], one(frame), other(frame))
        return lambda frame: not equals(frame[0], one(frame), other(frame))

    return SyntaxNode(sign, make, [left, right])


def _logic(sign: str, left: SyntaxNode, right: SyntaxNode, line: int) -> SyntaxNode:
    def make() -> Expr:
        one, other = left.make(), right.make()

        def both(frame: Frame) -> Any:
            found = one(frame)
            return found if found is None or found is False else other(frame)

        def either(frame: Frame) -> Any:
            found = one(frame)
            return other(frame) if found is None or found is False else found

        return both if sign == "and" else either

    return SyntaxNode(sign, make, [left, right])


def binary(sign: str, left: SyntaxNode, right: SyntaxNode, line: int) -> SyntaxNode:
    """LEFT SIGN RIGHT"""
    if sign in _ARITHMETIC:
        return _arithmetic(sign, left, right, line)
    if sign in ("and", "or"):
        is_decided = left.kind == "constant" and is_true(left.value) == (sign == "and")
        return single(right) if is_decided else _logic(sign, left, right, line)
    return (_equality if sign in ("==", "~=") else _comparison)(sign, left, right, line)


def concat(parts: list[SyntaxNode], line: int) -> SyntaxNode:
    """PART .. PART"""
    names = [name_of(part) for part in parts]

    def make() -> Expr:
        rows = [part.make() for part in parts]

        def concatenated(frame: Frame) -> str:
            texts = []
            for row in rows:
                found = row(frame)
                texts.append(number_text(found) if type(found) is float else found)
            for place in range(len(texts) - 1, 0, -1):  # by pairs from the right, as Lua does
                for bad in (place - 1, place):
                    if type(texts[bad]) is not str:
                        raise fault(line, about_value("concatenate", texts[bad], names[bad]))
            frame[0].spend_bytes(sum(map(len, texts)))
            return "".join(texts)

        return concatenated

    return SyntaxNode("concat", make, parts)


def unary(sign: str, inner: SyntaxNode, line: int) -> SyntaxNode:
    """SIGN EXPRESSION"""
    name = name_of(inner)

    def make() -> Expr:
        value = inner.make()

        def negated(frame: Frame) -> bool:
            found = value(frame)
            return found is None or found is False

        def minus(frame: Frame) -> float:
            found = value(frame)
            return -found if type(found) is float else -_operand(found, name, line)

        def length(frame: Frame) -> float:
            found = value(frame)
            if type(found) is Table:
                return float(len(found.array))
            if type(found) is str:
                return float(len(found))
            raise fault(line, about_value("get length of", found, name))

        return {"not": negated, "-": minus, "#": length}[sign]

    return SyntaxNode(sign, make, [inner])


def table(
    items: list[SyntaxNode], pairs: list[tuple[SyntaxNode, SyntaxNode]], line: int
) -> SyntaxNode:
    """{ITEM, ..., [KEY] = VALUE, ...}"""

    def make() -> Expr:
        every = all_of(items)
        rows = [(key.make(), value.make()) for key, value in pairs]

        def made(frame: Frame) -> Table:
            found = every(frame)
            frame[0].spend(2 + len(found))
            new = Table()
            for key, value in rows:
                new.set(key(frame), value(frame), line)
            if found:
                while found and found[-1] is None:
                    found.pop()
                for place in range(len(found), len(new.array)):  # an item goes before a pair
                    found.append(new.array[place])
                new.array = found
            return new

        return made

    parts = [*items, *(each for pair in pairs for each in pair)]
    return SyntaxNode("table", make, parts)


def function(proto: Proto, ups: list[tuple[bool, int]]) -> SyntaxNode:
    """function (PARAMETER, ...) BODY end: `ups` tells which locals of the outer function, or which
    of its own captured variables, it captures."""

    def made(frame: Frame) -> Closure:
        boxes = [frame[place] if is_local else frame[1][place] for is_local, place in ups]
        frame[0].spend(len(boxes))
        return Closure(proto, boxes)

    return SyntaxNode("function", lambda: made, [])
