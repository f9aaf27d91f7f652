"""Rules of mypyc for the modules that it compiles, whose breach it does not report
(docs/develop/compiled.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from raftline_testing.runner.parts import there
from tests.lists.trees import ROOT, SOURCES, file_of, parts_of, tree_of, within

WITHOUT_EFFECT = {"len", "min", "max", "index", "find", "start", "end"}


def compiled() -> list[Path]:
    """The modules that setup.py names, without running it."""
    lists = {
        statement.targets[0].id: ast.literal_eval(statement.value)
        for statement in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body
        if isinstance(statement, ast.Assign)
        and isinstance(statement.targets[0], ast.Name)
        and statement.targets[0].id in ("COMPILED", "NOT_COMPILED")
    }
    found = []
    for pattern in there(lists["COMPILED"]):
        modules = sorted(path for folder in SOURCES for path in folder.glob(f"{pattern}.py"))
        assert modules, f"setup.py compiles {pattern}, which is not there"
        found += modules
    left = {file_of(f"{name}.py") for name in there(lists["NOT_COMPILED"])}
    assert left <= set(found), "setup.py leaves out what it does not compile"
    return [path for path in found if path not in left]


def effects_in_bounds(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of slices whose bounds may do something."""
    slices = [node for node in ast.walk(tree) if isinstance(node, ast.Slice)]
    bounds = [bound for each in slices for bound in (each.lower, each.upper) if bound is not None]
    for part in (part for bound in bounds for part in ast.walk(bound)):
        if isinstance(part, ast.NamedExpr):
            yield part.lineno
        elif isinstance(part, ast.Call):
            called = part.func
            name = called.attr if isinstance(called, ast.Attribute) else ast.unparse(called)
            if name not in WITHOUT_EFFECT:
                yield part.lineno


def test_no_slice_bound_has_an_effect_that_mypyc_doubles() -> None:
    """mypyc evaluates the bound of a slice twice."""
    against = [
        f"{within(path)}:{line}" for path in compiled() for line in effects_in_bounds(tree_of(path))
    ]
    assert against == []
    assert list(effects_in_bounds(ast.parse("view[os.write(file, view) :]"))) == [1]


TAKE_ALL = {"all", "any", "bytes", "join", "max", "next", "sorted", "sum", "tuple"}


def lists_that_look_lazy(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of generator expressions, but for those whose reader takes all at once."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    read_whole = {
        id(each.args[0])
        for each in calls
        if each.args and ast.unparse(each.func).rpartition(".")[2] in TAKE_ALL
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.GeneratorExp) and id(node) not in read_whole:
            yield node.lineno


def test_no_generator_is_read_lazily_where_mypyc_makes_a_list() -> None:
    """mypyc makes a list of a generator expression."""
    against = [
        f"{within(path)}:{line}"
        for path in compiled()
        for line in lists_that_look_lazy(tree_of(path))
    ]
    assert against == []
    assert list(lists_that_look_lazy(ast.parse("lines = (f'{key}' for key in pairs)"))) == [1]


def test_no_attribute_collides_with_a_keyword_of_c() -> None:
    """`_thread` becomes `__thread` in C."""
    against = [
        f"{within(path)}:{node.lineno}"
        for path in compiled()
        for node in parts_of(path)
        if isinstance(node, ast.Attribute) and node.attr == "_thread"
    ]
    assert against == []
