"""The code of raftline compares words, codes, fields and values, but no sentence for people."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from raftline.common import extensions
from raftline_testing.runner.parts import MISSING, is_missing
from tests.lists.trees import ROOT, name_of, sources, within

SENTENCE = re.compile(r"[A-Za-z',]{2,} (?:.* )?[A-Za-z']{2,}", re.DOTALL)  # two words, or more
READS = {"startswith", "endswith", "find", "index", "count"}
# The words of the grammar, which has one sentence, and those of `raftline status`.
GRAMMAR = (ROOT / "docs" / "develop" / "grammar.abnf").read_text("utf-8")
DONE = re.compile(r"[A-Z-]+ response(: )?")
WORDS = {word for word in re.findall(r'%s"([^"]*)"', GRAMMAR) if not word.startswith("Sorry")}
for status in extensions.modules_named(["raftline.tools.status.status"]):
    WORDS |= {status.NO_HOST, status.NO_ANSWER, status.OTHER_NODE, status.NO_NODE}
# All that is left, with the reason.
READ = {
    ("access/tls.py", "raftline member"): "a field of a certificate",
    ("server.py", "can't start new thread"): "Python has no code for this error",
    ("tools/node_files/replay_command.py", "raftline recording of a node's core"): "begins a file",
    ("wire/commands/transaction_line.py", "Nothing was done."): "ends a sentence, and only once",
    ("wire/replies/replies.py", "Entry not found"): "a value may look like this line of a screen",
}


def _texts(node: ast.expr, names: object) -> Iterator[str]:
    """Yield the texts of an operand: a literal, one with fields, a constant, or several of them."""
    if isinstance(node, ast.Constant):
        yield from _texts_in(node.value)
    elif isinstance(node, ast.JoinedStr):
        constants = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
        yield "".join(map(str, constants))
    elif isinstance(node, ast.Tuple | ast.List | ast.Set):
        for each in node.elts:
            yield from _texts(each, names)
    elif isinstance(node, ast.Name | ast.Attribute):
        value = names
        for name in ast.unparse(node).split("."):
            value = getattr(value, name, None)
        yield from _texts_in(value)


def _texts_in(value: object) -> Iterator[str]:
    if isinstance(value, bytes):
        yield value.decode("latin-1")
    elif isinstance(value, str) and not isinstance(value, Enum):
        yield value
    elif isinstance(value, tuple | list | set | frozenset) and not hasattr(value, "_fields"):
        for each in value:
            yield from _texts_in(each)


def _compared(node: ast.AST) -> Iterable[ast.expr]:
    """Return the operands of a comparison."""
    if isinstance(node, ast.Compare):
        is_of_texts = not isinstance(node.ops[0], ast.Is | ast.IsNot)
        return [node.left, *node.comparators] if is_of_texts else []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.args if node.func.attr in READS else []
    return [node.value] if isinstance(node, ast.MatchValue) else []


def sentences_read(source: str, names: object) -> set[str]:
    """Return the sentences with which a module compares something."""
    return {
        text
        for node in ast.walk(ast.parse(source))
        for each in _compared(node)
        for text in _texts(each, names)
        if SENTENCE.search(text) and not DONE.fullmatch(text) and text not in WORDS
    }


def _module(path: Path) -> ModuleType | None:
    """Return a module; None for a program that says which missing part it needs."""
    try:
        return importlib.import_module(f"raftline.{name_of(path)}".removesuffix(".__init__"))
    except ModuleNotFoundError as error:
        if MISSING and extensions.is_missing(error):
            return None
        raise


def test_no_decision_reads_a_sentence() -> None:
    found = {
        (within(path), text)
        for path in sources()
        if path.name != "__main__.py"
        for text in sentences_read(path.read_text("utf-8"), _module(path))
    }
    listed = {place for place in READ if not is_missing(place[0])}
    assert found == listed or (MISSING and found < listed)
    assert len(READ) <= 6


def test_no_server_reads_the_reason_of_a_denial() -> None:
    """It is for people, unlike the word in front of it."""
    for path in sources("raft"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            assert not (isinstance(node, ast.Attribute) and node.attr == "reason"), path


@pytest.mark.parametrize(
    "line",
    [
        'x == "log not up to date"', '"no such key!" in x', 'x.startswith(f"I hear from {x}")',
        'x in ("a", "not so")', "x == REASON", "x.endswith(here.REASON)",
        'match x:\n case "not so": pass',
    ],
)  # fmt: skip
def test_sentence_in_a_comparison_is_found(line: str) -> None:
    names = SimpleNamespace(REASON=b"not so", here=SimpleNamespace(REASON="not so"))
    assert sentences_read(line, names)
    assert not sentences_read('x == "behind"; x.startswith("get ")', names)
