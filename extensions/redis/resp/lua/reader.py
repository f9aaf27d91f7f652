"""The grammar of Lua 5.1: from the tokens of a script to its main function. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

from . import machine, statements
from .machine import FIRST, Local, Proto, SyntaxNode
from .tokens import END, LuaToken, tokens_of
from .values import SyntaxFault

_LEFT: Final = {
    "or": 1, "and": 2, "<": 3, ">": 3, "<=": 3, ">=": 3, "~=": 3, "==": 3, "..": 5, "+": 6, "-": 6,
    "*": 7, "/": 7, "%": 7, "^": 10,
}  # fmt: skip
_RIGHT: Final = {**_LEFT, "..": 4, "^": 9}
_UNARY: Final = 8
_DEEP: Final = 100  # statements and expressions within each other
_FRAMES: Final = 400  # of Python, in one function
_LOCALS: Final = 200
_UPVALUES: Final = 60
_LOOPS: Final = frozenset(["while", "for", "repeat", "function", ":"])
_LIBRARIES: Final = frozenset(["string", "table", "cjson", "cmsgpack", "_G", "bit", "pcall"])
_CONSTANTS: Final = {"nil": None, "true": True, "false": False}


def script_of(text: str) -> tuple[Proto, bool]:
    """Return the main function of a script, and whether it is short: without a loop, and without
    functions but those that call commands.

    Raises:
        SyntaxFault: the text is not a script.
    """
    tokens = tokens_of(text)
    names = {token.value for token in tokens if token.kind == "name"}
    is_short = _LOOPS.isdisjoint([token.kind for token in tokens]) and _LIBRARIES.isdisjoint(names)
    return _Reader(tokens).main(), is_short


class _Scope:
    """A function that is being read."""

    def __init__(self, outer: _Scope | None, *, takes_rest: bool) -> None:
        self.outer = outer
        self.takes_rest = takes_rest
        self.blocks: list[dict[str, Local]] = [{}]
        self.used = self.size = FIRST
        self.ups: list[tuple[bool, int]] = []  # whether it is a local of the outer one, its place
        self._known: dict[tuple[bool, int, str], int] = {}
        self.loops = 0

    def find(self, name: str) -> Local | None:
        for names in reversed(self.blocks):
            if name in names:
                return names[name]
        return None

    def captured(self, name: str) -> int | None:
        """Return the place of an outer function's local among the captured ones."""
        if self.outer is None:
            return None
        local = self.outer.find(name)
        if local is not None:
            local.is_captured = True
            return self._up(True, local.place, f"{name} {id(local)}")
        place = self.outer.captured(name)
        return None if place is None else self._up(False, place, name)

    def _up(self, is_local: bool, place: int, name: str) -> int:
        key = (is_local, place, name)
        if key not in self._known:
            self._known[key] = len(self.ups)
            self.ups.append((is_local, place))
        return self._known[key]


class _Reader:
    def __init__(self, tokens: list[LuaToken]) -> None:
        self._tokens = tokens
        self._at = 0
        self._deep = 0
        self._scope = _Scope(None, takes_rest=True)

    def main(self) -> Proto:
        body = self._block(END)
        return self._proto([], body)

    # --- tokens ----------------------------------------------------------------------------------

    @property
    def _token(self) -> LuaToken:
        return self._tokens[self._at]

    def _fault(self, problem: str) -> SyntaxFault:
        token = self._token
        return SyntaxFault(f"user_script:{token.line}: {problem} near '{token.value}'")

    def _take(self, kind: str) -> LuaToken:
        token = self._token
        if token.kind != kind:
            wanted = "<name>" if kind == "name" else kind
            raise self._fault(f"'{wanted}' expected")
        self._at += 1
        return token

    def _skip(self, kind: str) -> bool:
        is_there = self._token.kind == kind
        self._at += is_there
        return is_there

    def _enter(self) -> None:
        self._deep += 1
        if self._deep > _DEEP:
            raise self._fault("chunk has too many syntax levels")

    def _checked(self, node: SyntaxNode) -> SyntaxNode:
        """Return a part of the script that is not too deep: a chain of operators may be."""
        if node.depth > _FRAMES:
            raise self._fault("chunk has too many syntax levels")
        return node

    # --- functions and names ---------------------------------------------------------------------

    def _proto(self, parameters: list[Local], body: SyntaxNode) -> Proto:
        """Return the function that was read."""
        scope, proto = self._scope, Proto()
        if len(scope.ups) > _UPVALUES:
            raise self._fault(f"function has more than {_UPVALUES} upvalues")
        proto.count, proto.takes_rest = len(parameters), scope.takes_rest
        proto.boxed = [each.place for each in parameters if each.is_captured]
        proto.pad = [None] * (scope.size - FIRST - proto.count)
        proto.cost = body.depth + 4
        proto.body = body.make()
        return proto

    def _function(self, *, is_method: bool = False) -> SyntaxNode:
        """Read a function from its parameters on."""
        names, takes_rest = ["self"] if is_method else [], False
        self._take("(")
        while not self._skip(")"):
            if self._skip("..."):
                takes_rest = True
                self._take(")")
                break
            names.append(self._take("name").value)
            if self._token.kind != ")":
                self._take(",")
                if self._token.kind == ")":
                    raise self._fault("<name> expected")
        self._scope = scope = _Scope(self._scope, takes_rest=takes_rest)
        parameters = [self._declare(name) for name in names]
        body = self._block("end")
        self._take("end")
        proto = self._proto(parameters, body)
        assert scope.outer is not None
        self._scope = scope.outer
        return machine.function(proto, scope.ups)

    def _declare(self, name: str) -> Local:
        scope = self._scope
        local = scope.blocks[-1][name] = Local(name, scope.used)
        scope.used += 1
        scope.size = max(scope.size, scope.used)
        if scope.used > _LOCALS + FIRST:
            raise self._fault(f"too many local variables (limit is {_LOCALS})")
        return local

    def _named(self, token: LuaToken) -> tuple[SyntaxNode, statements.Target]:
        """Return the value of a variable, and how to set it."""
        name = token.value
        local = self._scope.find(name)
        if local is not None:
            return machine.local_name(local), statements.to_local(local)
        place = self._scope.captured(name)
        if place is not None:
            return machine.up_name(place, name), statements.to_upvalue(place)
        return machine.global_name(name, token.line), statements.to_global(token.line)

    # --- statements ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locals(self) -> Iterator[None]:
        """Begin a block, whose locals nobody knows after it."""
        scope, used = self._scope, self._scope.used
        scope.blocks.append({})
        yield
        scope.blocks.pop()
        scope.used = used

    def _block(self, *ends: str) -> SyntaxNode:
        with self._locals():
            return self._open_block(*ends)

    def _open_block(self, *ends: str) -> SyntaxNode:
        """Read statements in the innermost block, whose locals stay known."""
        self._enter()
        rows: list[SyntaxNode] = []
        while self._token.kind not in ends:
            is_last = self._token.kind in ("return", "break")
            rows.append(self._statement())
            self._skip(";")
            if is_last and self._token.kind not in ends:
                raise self._fault(f"'{ends[0]}' expected")
        self._deep -= 1
        return self._checked(statements.block(rows))

    def _statement(self) -> SyntaxNode:
        read: Any = _STATEMENTS.get(self._token.kind)
        self._at += read is not None
        node: SyntaxNode = (read or _Reader._plain_statement)(self)
        return node

    def _return(self) -> SyntaxNode:
        is_bare = self._token.kind in (END, "end", "else", "elseif", "until", ";")
        return statements.result([] if is_bare else self._expressions())

    def _break(self) -> SyntaxNode:
        if not self._scope.loops:
            raise self._fault("no loop to break")
        return statements.broken()

    def _do(self) -> SyntaxNode:
        body = self._block("end")
        self._take("end")
        return body

    def _if(self) -> SyntaxNode:
        arms, other = [self._arm()], None
        while self._token.kind == "elseif":
            self._at += 1
            arms.append(self._arm())
        if self._skip("else"):
            other = self._block("end")
        self._take("end")
        return statements.choice(arms, other)

    def _arm(self) -> tuple[SyntaxNode, SyntaxNode]:
        condition = self._expression()
        self._take("then")
        return condition, self._block("else", "elseif", "end")

    def _while(self) -> SyntaxNode:
        condition = self._expression()
        self._take("do")
        return statements.loop(condition, self._loop_body())

    def _loop_body(self) -> SyntaxNode:
        self._scope.loops += 1
        body = self._block("end")
        self._scope.loops -= 1
        self._take("end")
        return body

    def _repeat(self) -> SyntaxNode:
        with self._locals():
            self._scope.loops += 1
            body = self._open_block("until")
            self._scope.loops -= 1
            self._take("until")
            return statements.loop(self._expression(), body, is_until=True)

    def _for(self) -> SyntaxNode:
        line, names = self._token.line, self._names()
        is_count = len(names) == 1 and self._skip("=")
        if not is_count:
            self._take("in")
        values = self._expressions()
        if is_count and len(values) not in (2, 3):
            raise self._fault("',' expected")
        self._take("do")
        with self._locals():
            locals_ = [self._declare(name) for name in names]
            body = self._loop_body()
        if is_count:
            return statements.count_loop(locals_[0], values, body, line)
        return statements.each_loop(locals_, values, body, line)

    def _names(self) -> list[str]:
        names = [self._take("name").value]
        while self._skip(","):
            names.append(self._take("name").value)
        return names

    def _local(self) -> SyntaxNode:
        if self._skip("function"):
            local = self._declare(self._take("name").value)
            return statements.new_function(local, self._function())
        names = self._names()
        values = self._expressions() if self._skip("=") else []
        return statements.new_locals([self._declare(name) for name in names], values)

    def _named_function(self) -> SyntaxNode:
        value, target = self._named(self._take("name"))
        is_method = False
        while self._token.kind in (".", ":") and not is_method:
            is_method, line = self._token.kind == ":", self._token.line
            self._at += 1
            key = self._constant("name")
            value, target = machine.index(value, key, line), statements.to_field(value, key, line)
        return statements.assignment([target], [self._function(is_method=is_method)])

    def _plain_statement(self) -> SyntaxNode:
        """Read a call or an assignment."""
        node, target = self._suffixed()
        if node.kind == "call" and self._token.kind not in ("=", ","):
            return statements.ignored(node)
        targets = [target]
        while self._skip(","):
            targets.append(self._suffixed()[1])
        self._take("=")
        values = self._expressions()
        found = [each for each in targets if each is not None]
        if len(found) < len(targets):
            raise self._fault("syntax error")
        return statements.assignment(found, values)

    # --- expressions -----------------------------------------------------------------------------

    def _expressions(self) -> list[SyntaxNode]:
        nodes = [self._expression()]
        while self._skip(","):
            nodes.append(self._expression())
        return nodes

    def _expression(self, limit: int = 0) -> SyntaxNode:
        """Read an expression of operators that bind more tightly than this limit."""
        self._enter()
        token = self._token
        if token.kind in ("not", "-", "#"):
            self._at += 1
            node = machine.unary(token.kind, self._expression(_UNARY), token.line)
        else:
            node = self._simple()
        while _LEFT.get(self._token.kind, 0) > limit:
            sign = self._token
            self._at += 1
            if sign.kind == "..":
                node = self._concatenation(node, sign.line)
            else:
                right = self._expression(_RIGHT[sign.kind])
                node = machine.binary(sign.kind, node, right, sign.line)
            self._checked(node)
        self._deep -= 1
        return node

    def _concatenation(self, first: SyntaxNode, line: int) -> SyntaxNode:
        """Read the rest of a chain, which is one operation in Lua, too."""
        parts = [first, self._expression(_LEFT[".."])]
        while self._skip(".."):
            parts.append(self._expression(_LEFT[".."]))
        return machine.concat(parts, line)

    def _simple(self) -> SyntaxNode:
        token = self._token
        if token.kind in ("number", "string"):
            return self._constant(token.kind)
        if token.kind in _CONSTANTS:
            self._at += 1
            return machine.constant(_CONSTANTS[token.kind])
        if self._skip("..."):
            if not self._scope.takes_rest:
                raise self._fault("cannot use '...' outside a vararg function")
            return machine.varargs()
        if token.kind == "{":
            return self._table()
        if self._skip("function"):
            return self._function()
        return self._suffixed()[0]

    def _suffixed(self) -> tuple[SyntaxNode, Any]:
        """Read a name or an expression in parentheses, and what follows: the value, and how to set
        it, None if nothing does."""
        target: statements.Target | None
        if self._token.kind == "(":
            line = self._token.line
            self._at += 1
            node, target = machine.single(self._expression()), None
            if self._token.kind != ")":
                raise self._fault(f"')' expected (to close '(' at line {line})")
            self._at += 1
        elif self._token.kind == "name":
            self._at += 1
            node, target = self._named(self._tokens[self._at - 1])
        else:
            raise self._fault("unexpected symbol")
        while (kind := self._token.kind) in _SUFFIXES:
            line = self._token.line
            if kind in (".", "["):
                key = self._key(kind)
                node, target = machine.index(node, key, line), statements.to_field(node, key, line)
            elif self._skip(":"):
                name = self._take("name").value
                node, target = machine.method(node, name, self._arguments(), line), None
            else:
                if kind == "(" and line != self._tokens[self._at - 1].line:
                    raise self._fault("ambiguous syntax (function call x new statement)")
                node, target = machine.call(node, self._arguments(), line), None
            self._checked(node)
        return node, target

    def _constant(self, kind: str) -> SyntaxNode:
        return machine.constant(self._take(kind).value)

    def _key(self, kind: str) -> SyntaxNode:
        self._at += 1
        if kind == ".":
            return self._constant("name")
        key = self._expression()
        self._take("]")
        return key

    def _arguments(self) -> list[SyntaxNode]:
        if self._token.kind == "string":
            return [self._constant("string")]
        if self._token.kind == "{":
            return [self._table()]
        self._take("(")
        nodes = [] if self._token.kind == ")" else self._expressions()
        self._take(")")
        return nodes

    def _table(self) -> SyntaxNode:
        line, items = self._take("{").line, list[SyntaxNode]()
        pairs: list[tuple[SyntaxNode, SyntaxNode]] = []
        ends = True  # with an item, of which all values count
        while (kind := self._token.kind) != "}":
            ends = kind != "[" and (kind != "name" or self._tokens[self._at + 1].kind != "=")
            if ends:
                items.append(self._expression())
            else:
                key = self._key("[") if kind == "[" else self._constant("name")
                self._take("=")
                pairs.append((key, self._expression()))
            if not (self._skip(",") or self._skip(";")):
                break
        self._take("}")
        if items and not ends:
            items[-1] = machine.single(items[-1])
        return machine.table(items, pairs, line)


_SUFFIXES: Final = frozenset([".", "[", ":", "(", "{", "string"])
_STATEMENTS: Final[dict[str, Any]] = {
    "return": _Reader._return, "break": _Reader._break, "do": _Reader._do, "if": _Reader._if,
    "while": _Reader._while, "repeat": _Reader._repeat, "for": _Reader._for,
    "local": _Reader._local, "function": _Reader._named_function,
}  # fmt: skip
