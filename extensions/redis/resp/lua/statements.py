"""The statements of Lua as closures. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from .machine import BREAK, Expr, Frame, Local, SyntaxNode, about_value, all_of, invoke, name_of
from .values import Builtin, ScriptRun, Table, fault, is_true, to_number

Store = Callable[[Frame], Callable[[Any], None]]


def block(statements: list[SyntaxNode]) -> SyntaxNode:
    """Statements in order, whose steps count at the beginning."""
    cost = 1 + sum([each.steps for each in statements])

    def make() -> Expr:
        rows = [each.make() for each in statements]

        def several(frame: Frame) -> Any:
            frame[0].spend(cost)
            for row in rows:
                found = row(frame)
                if found is not None:
                    return found
            return None

        return several

    node = SyntaxNode("block", make, statements)
    node.steps = 1  # its own count, when it begins
    return node


def result(values: list[SyntaxNode]) -> SyntaxNode:
    """return VALUE, ..."""
    return SyntaxNode("return", lambda: all_of(values), values)


def broken() -> SyntaxNode:
    """break"""
    return SyntaxNode("break", lambda: lambda frame: BREAK, [])


def ignored(call: SyntaxNode) -> SyntaxNode:
    """A call whose results nobody takes."""
    assert call.every is not None
    every = call.every

    def make() -> Expr:
        values = every()

        def run(frame: Frame) -> None:
            values(frame)

        return run

    return SyntaxNode("call", make, [call])


def choice(arms: list[tuple[SyntaxNode, SyntaxNode]], other: SyntaxNode | None) -> SyntaxNode:
    """if CONDITION then BLOCK elseif ... else BLOCK end"""

    def make() -> Expr:
        rows = [(condition.make(), body.make()) for condition, body in arms]
        otherwise = other.make() if other is not None else None

        def run(frame: Frame) -> Any:
            for condition, body in rows:
                found = condition(frame)
                if found is not None and found is not False:
                    return body(frame)
            return otherwise(frame) if otherwise is not None else None

        return run

    return SyntaxNode(
        "if", make, [*(each for arm in arms for each in arm), *([other] if other else [])]
    )


def loop(condition: SyntaxNode, body: SyntaxNode, *, is_until: bool = False) -> SyntaxNode:
    """while CONDITION do BLOCK end, or repeat BLOCK until CONDITION"""

    def make() -> Expr:
        test, run_body, cost = condition.make(), body.make(), condition.steps

        def run(frame: Frame) -> Any:
            while is_until or is_true(test(frame)):
                frame[0].spend(cost)
                found = run_body(frame)
                if found is not None:
                    return None if found is BREAK else found
                if is_until and is_true(test(frame)):
                    return None
            return None

        return run

    return SyntaxNode("while", make, [condition, body])


_BOUNDS: Final = ("initial value", "limit", "step")


def count_loop(local: Local, bounds: list[SyntaxNode], body: SyntaxNode, line: int) -> SyntaxNode:
    """for LOCAL = FIRST, LAST, STEP do BLOCK end"""

    def make() -> Expr:
        rows, run_body = [each.make() for each in bounds], body.make()
        place, is_boxed = local.place, local.is_captured

        def run(frame: Frame) -> Any:
            numbers = [1.0, 1.0, 1.0]
            for at, each in enumerate([row(frame) for row in rows]):
                number = to_number(each)
                if number is None:
                    raise fault(line, f"'for' {_BOUNDS[at]} must be a number")
                numbers[at] = number
            value, last, step = numbers
            while value <= last if step > 0 else last <= value:
                frame[place] = [value] if is_boxed else value
                found = run_body(frame)
                if found is not None:
                    return None if found is BREAK else found
                value += step
            return None

        return run

    return SyntaxNode("for", make, [*bounds, body])


def each_loop(
    locals_: list[Local], values: list[SyntaxNode], body: SyntaxNode, line: int
) -> SyntaxNode:
    """for LOCAL, ... in VALUE, ... do BLOCK end"""

    def make() -> Expr:
        every, run_body = all_of(values), body.make()
        rows = [(at, each.place, each.is_captured) for at, each in enumerate(locals_)]

        def run(frame: Frame) -> Any:
            given = [*every(frame), None, None, None]
            for found in _turns(frame[0], given[0], given[1], given[2], line):
                for at, place, is_boxed in rows:
                    value = found[at] if at < len(found) else None
                    frame[place] = [value] if is_boxed else value
                result_ = run_body(frame)
                if result_ is not None:
                    return None if result_ is BREAK else result_
            return None

        return run

    return SyntaxNode("for", make, [*values, body])


def _turns(run: ScriptRun, function: Any, state: Any, control: Any, line: int) -> Iterator[Any]:
    """Yield the values of each turn; a table is traversed without a call for each."""
    if type(function) is Builtin and type(state) is Table:
        if function.name == "next" and control is None:
            run.spend(len(state.hash))
            yield from state.items()
            return
        if function.name == "ipairs_next" and control == 0:
            place = 1.0
            while (value := state.get(place)) is not None:
                yield place, value
                place += 1.0
            return
    while True:
        found = invoke(run, function, [state, control], line)
        if not found or found[0] is None:
            return
        control = found[0]
        yield found


# --- assignments ----------------------------------------------------------------------------------


def new_locals(locals_: list[Local], values: list[SyntaxNode]) -> SyntaxNode:
    """local NAME, ... = VALUE, ..."""

    def make() -> Expr:
        rows = [(at, each.place, each.is_captured) for at, each in enumerate(locals_)]
        if len(rows) == len(values) == 1:
            (_, only, is_boxed_), value = rows[0], values[0].make()

            def put(frame: Frame) -> None:
                found = value(frame)
                frame[only] = [found] if is_boxed_ else found

            return put
        every = all_of(values)

        def put_all(frame: Frame) -> None:
            found = every(frame)
            for at, place, is_boxed in rows:
                each = found[at] if at < len(found) else None
                frame[place] = [each] if is_boxed else each

        return put_all

    return SyntaxNode("local", make, values)


def new_function(local: Local, body: SyntaxNode) -> SyntaxNode:
    """local function NAME BODY end"""

    def make() -> Expr:
        place, made = local.place, body.make()

        def put(frame: Frame) -> None:
            if local.is_captured:
                frame[place] = [None]
                frame[place][0] = made(frame)
            else:
                frame[place] = made(frame)

        return put

    return SyntaxNode("local", make, [body])


class Target:
    """The left side of an assignment. `prepare` evaluates what names it, and returns how to set
    it."""

    def __init__(self, prepare: Callable[[], Store], parts: list[SyntaxNode]) -> None:
        self.prepare = prepare
        self.parts = parts


def to_local(local: Local) -> Target:
    """A local variable."""

    def prepare() -> Store:
        place = local.place
        if local.is_captured:
            return lambda frame: lambda value: frame[place].__setitem__(0, value)
        return lambda frame: lambda value: frame.__setitem__(place, value)

    return Target(prepare, [])


def to_upvalue(place: int) -> Target:
    """A captured variable."""
    return Target(lambda: lambda frame: lambda value: frame[1][place].__setitem__(0, value), [])


def to_global(line: int) -> Target:
    """A global, which no script may set."""

    def prepare(frame: Frame) -> Callable[[Any], None]:
        def refuse(value: Any) -> None:
            raise fault(line, "Attempt to modify a readonly table")

        return refuse

    return Target(lambda: prepare, [])


def to_field(owner: SyntaxNode, key: SyntaxNode, line: int) -> Target:
    """OWNER[KEY]"""

    def prepare() -> Store:
        holder, at = owner.make(), key.make()

        def ready(frame: Frame) -> Callable[[Any], None]:
            table, place = holder(frame), at(frame)

            def put(value: Any) -> None:
                if type(table) is not Table:
                    raise fault(line, about_value("index", table, name_of(owner)))
                table.set(place, value, line)

            return put

        return ready

    return Target(prepare, [owner, key])


def assignment(targets: list[Target], values: list[SyntaxNode]) -> SyntaxNode:
    """TARGET, ... = VALUE, ..."""

    def make() -> Expr:
        stores = [target.prepare() for target in targets]
        if len(stores) == len(values) == 1:
            (store,), value = stores, values[0].make()

            def put(frame: Frame) -> None:
                to = store(frame)
                to(value(frame))

            return put
        every = all_of(values)

        def put_all(frame: Frame) -> None:
            ready = [each(frame) for each in stores]
            found = every(frame)
            for at in range(len(ready) - 1, -1, -1):  # Lua sets the last one first
                ready[at](found[at] if at < len(found) else None)

        return put_all

    return SyntaxNode("assign", make, [*(part for each in targets for part in each.parts), *values])
