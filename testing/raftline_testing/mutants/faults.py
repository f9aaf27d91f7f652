"""One-line faults, planted by rule into the syntax tree of a module.

Every planted fault has a number, and the compiled module asks `raftline_fault_(number)` whether it
is in force. So one import carries all faults of a run, and each fault needs only a fork.

Faults of code that runs when a module is imported (tables, defaults, decorators) are not planted:
there, a test must walk the table. Nor are faults of texts, annotations and patterns of `match`.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

ASK, FIRST = "raftline_fault_", "raftline_first_"  # the names that a module with faults is given
_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult,
}  # fmt: skip
_CALLED = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list"}
_LOST = (ast.Call, ast.Yield, ast.YieldFrom, ast.Await)


@dataclass(frozen=True)
class Fault:
    """A fault of one module."""

    number: int  # among those of its module, by their order in its text
    line: int
    function: str  # `Class.method`
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.old}  ->  {self.new}"


def faults_of(source: str) -> list[Fault]:
    """Return every fault that the rules find in a module."""
    planter = _Planter(None)
    planter.visit(ast.parse(source))
    return planter.found


def planted(source: str, numbers: Container[int], offset: int = 0) -> ast.Module:
    """Return the module with these faults, each of which is asked for by `offset` and its own
    number."""
    tree = _Planter(numbers, offset).visit(ast.parse(source))
    assert isinstance(tree, ast.Module)
    return ast.fix_missing_locations(tree)


class _Planter(ast.NodeTransformer):
    """Numbers the faults of a module, and plants those that are asked for."""

    def __init__(self, numbers: Container[int] | None, offset: int = 0) -> None:
        self.found: list[Fault] = []
        self._numbers = numbers
        self._offset = offset
        self._scope: list[str] = []
        self._depth = 0  # of functions

    # What a function holds runs later than its module; the rest does not.

    def visit_FunctionDef(self, node: Any) -> Any:
        self._scope.append(node.name)
        self._depth += 1
        node.body = self._statements(node.body)
        self._depth -= 1
        self._scope.pop()
        return node

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        self._scope.append(node.name)
        node.body = self._statements(node.body)
        self._scope.pop()
        return node

    def visit_Lambda(self, node: ast.Lambda) -> Any:
        self._depth += 1
        node.body = self.visit(node.body)
        self._depth -= 1
        return node

    def _statements(self, body: list[ast.stmt]) -> list[ast.stmt]:
        return [self.visit(each) for each in body]

    # Statements.

    def visit_Expr(self, node: ast.Expr) -> Any:
        if isinstance(node.value, ast.Constant):
            return node
        old = ast.unparse(node)
        self.generic_visit(node)
        return self._without(node, old) if isinstance(node.value, _LOST) else node

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        old = ast.unparse(node)
        node.value = self.visit(node.value)
        return self._without(node, old)

    def visit_Assign(self, node: ast.Assign) -> Any:
        old = ast.unparse(node)
        node.value = self.visit(node.value)
        if isinstance(node.targets[0], ast.Attribute | ast.Subscript):
            return self._without(node, old)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        node.value = self.visit(node.value) if node.value else None
        return node

    def visit_For(self, node: ast.For) -> Any:
        node.iter = self._first(self.visit(node.iter))
        node.body, node.orelse = self._statements(node.body), self._statements(node.orelse)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> Any:
        node.iter = self.visit(node.iter)
        if not node.is_async:
            node.iter = self._first(node.iter)
        node.ifs = [self._test(each) for each in node.ifs]
        return node

    def visit_If(self, node: ast.If | ast.While) -> Any:
        if "TYPE_CHECKING" in ast.unparse(node.test):
            return node
        node.test = self._test(node.test)
        node.body, node.orelse = self._statements(node.body), self._statements(node.orelse)
        return node

    def visit_While(self, node: ast.While) -> Any:
        return self.visit_If(node)

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        node.test = self._test(node.test)
        node.body, node.orelse = self.visit(node.body), self.visit(node.orelse)
        return node

    def visit_Assert(self, node: ast.Assert) -> Any:
        return node  # it is for type checkers

    def visit_match_case(self, node: ast.match_case) -> Any:
        node.guard = self._test(node.guard) if node.guard else None
        node.body = self._statements(node.body)
        return node

    # Expressions.

    def visit_JoinedStr(self, node: ast.JoinedStr) -> Any:
        return node

    def visit_Compare(self, node: ast.Compare) -> Any:
        whole = copy.deepcopy(node)
        self.generic_visit(node)
        result: ast.expr = node
        for place, operator in enumerate(whole.ops):
            other = copy.deepcopy(whole)
            other.ops[place] = _COMPARED[type(operator)]()
            result = self._either(whole, other, result)
        return result

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        whole = copy.deepcopy(node)
        self.generic_visit(node)
        result: ast.expr = node
        for place in range(len(whole.values)):
            other = copy.deepcopy(whole)
            del other.values[place]
            result = self._either(whole, other if other.values[1:] else other.values[0], result)
        return result

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        whole = copy.deepcopy(node)
        self.generic_visit(node)
        if isinstance(node.op, ast.Not):
            return self._either(whole, copy.deepcopy(whole.operand), node)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        whole = copy.deepcopy(node)
        self.generic_visit(node)
        other = _COMPUTED.get(type(whole.op))
        if other is None or any(_is_text(each) for each in (whole.left, whole.right)):
            return node
        return self._either(whole, ast.BinOp(whole.left, other(), whole.right), node)

    def visit_Constant(self, node: ast.Constant) -> Any:
        if isinstance(node.value, bool):
            return self._either(node, ast.Constant(not node.value), node)
        if isinstance(node.value, int):
            return self._either(node, ast.Constant(node.value + 1), node)
        return node

    def visit_Call(self, node: ast.Call) -> Any:
        whole = copy.deepcopy(node)
        self.generic_visit(node)
        if not (isinstance(whole.func, ast.Name) and whole.func.id in _CALLED):
            return node
        other = copy.deepcopy(whole)
        other.func = ast.Name(_CALLED[whole.func.id], ast.Load())
        if other.func.id == "list":
            other.keywords = []
        return self._either(whole, other, node)

    # Planting.

    def _test(self, node: ast.expr) -> ast.expr:
        whole = copy.deepcopy(node)
        visited: ast.expr = self.visit(node)
        if isinstance(whole, ast.Name | ast.Attribute | ast.Call | ast.NamedExpr):
            return self._either(whole, ast.UnaryOp(ast.Not(), copy.deepcopy(whole)), visited)
        return visited

    def _first(self, node: ast.expr) -> ast.expr:
        """Take the first element of what is walked, and leave the others."""
        old = ast.unparse(node)
        number = self._number(node, f"for each of {old}", f"for the first of {old}")
        if number is None:
            return node
        only = ast.Call(ast.Name(FIRST, ast.Load()), [_ask(number), node], [])
        return ast.copy_location(only, node)

    def _either(self, old: ast.expr, new: ast.expr, as_it_is: ast.expr) -> ast.expr:
        number = self._number(old, ast.unparse(old), ast.unparse(new))
        if number is None:
            return as_it_is
        return ast.copy_location(ast.IfExp(_ask(number), new, as_it_is), old)

    def _without(self, node: ast.stmt, old: str) -> ast.stmt:
        number = self._number(node, old, "pass")
        if number is None:
            return node
        kept = ast.If(ast.UnaryOp(ast.Not(), _ask(number)), [node], [])
        return ast.copy_location(kept, node)

    def _number(self, node: ast.stmt | ast.expr, old: str, new: str) -> int | None:
        """Return the number by which the module asks for this fault; None if it is not planted."""
        if not self._depth:
            return None
        number = len(self.found)
        self.found.append(Fault(number, node.lineno, ".".join(self._scope), old, new))
        if self._numbers is None or number not in self._numbers:
            return None
        return self._offset + number


def _ask(number: int) -> ast.Call:
    return ast.Call(ast.Name(ASK, ast.Load()), [ast.Constant(number)], [])


def _is_text(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) or _is_text(node.right)
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    )
