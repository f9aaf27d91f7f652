"""No line of ours decides by an English sentence: a reply has its code, or its form."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lists.trees import tree_of

ROOT = Path(__file__).resolve().parents[2]
LOOKS = {
    "startswith", "endswith", "removeprefix", "removesuffix", "find", "partition", "rpartition",
    "index", "count", "match", "fullmatch", "search", "split",
}  # fmt: skip
# Two words of letters in a row, or the word that begins a refusal.
SENTENCE = re.compile(r"[A-Za-z']{2,} [A-Za-z']+ |[a-z']{2,} [a-z']{2,}|^ ?(?:is|has|was) |^Sorry")
FORM = re.compile(r"(?:[A-Z]+ response[:,]? ?|, [a-z ]+|[a-z]+ )\Z")  # of a reply, or of a request
# What stays: reasons of denials are words of peers' messages (grammar.md), headers are the first
# lines of files, and the others are this program's own prompts, categories and marks.
MEANT = {
    "src/access/rights.py": {"_READ_LOG"},
    "src/access/tls.py": {"MEMBER"},
    "src/clients/shell.py": {"NOT_RECOGNIZED"},
    "src/net/peers.py": {"SORRY"},
    "src/node/recorder.py": {"HEADER"},
    "src/node/server.py": {"RISING"},
    "src/observe/laws.py": {"NOT_UP_TO_DATE", "OF_A_CLUSTER", "already voted", "MODE"},
    "src/observe/votes.py": {"NOT_UP_TO_DATE"},
    "src/raft/newborn.py": {"HEARS_LEADER", "PROMISED", "LOST_MEMORY", "MAY_BE_NEW",
                            "NOT_UP_TO_DATE", "OF_A_CLUSTER"},
    "src/server.py": {"NO_THREAD"},
    "src/state/transactions.py": {"_NOTHING"},
    "src/storage/logreader.py": {"CUT_PREFIX"},
    "src/tools/recover.py": {" to go on: "},
    "src/tools/replay.py": {"HEADER"},
    "src/tools/user.py": {"Once more: "},
    "src/wire/refusals.py": {"SORRY", "Sorry ["},
    "src/wire/replies.py": {"NOT_FOUND"},
    "src/wire/transactions.py": {"_NOTHING"},
    "course/raftline_course/picture.py": {"HEADER"},
    "course/raftline_course/trial/actions.py": {"part hard", "drop end"},
    "bench/results.py": {"model name"},
    "bench/run.py": {"file system"},
    "docs/pictures/make.py": {"asking for PreVotes"},
    "course/raftline_course/trial/metrics.py": {"trigger point", "part end", "server code"},
}  # fmt: skip
# The kit judges nodes of any language: the sentences are what it judges, and such a node may know
# no codes. So do the labs, which are left out: their rows are of what a person reads there.
JUDGES = "course/raftline_course/conform/"
OURS = ("src", "course/raftline_course", "bench", "integrations", "docs")


def trees(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            yield name, tree_of(path)


@functools.cache
def sentences() -> set[str]:
    """Return the names of the store's constants that hold a sentence."""
    found = set()
    for _, tree in trees("src"):
        for node in tree.body:
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if isinstance(target, ast.Name) and is_sentence(node.value):
                    found.add(target.id)
    return found


def is_sentence(node: ast.AST) -> bool:
    if not isinstance(node, ast.Constant) or not isinstance(node.value, (str, bytes)):
        return False
    text = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
    return bool(SENTENCE.search(text)) and not FORM.match(text)


def compared(node: ast.AST) -> list[ast.expr]:
    """Return what a text is compared with, or searched for, by an expression."""
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        if isinstance(node.ops[0], (ast.In, ast.NotIn)):
            return sides[:1]
        return sides if isinstance(node.ops[0], (ast.Eq, ast.NotEq)) else []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.args[:1] if node.func.attr in LOOKS else []
    return []


def looked_for(node: ast.AST, named: set[str]) -> list[str]:
    """Return the sentences that an expression looks for in a text."""
    found = []
    for side in compared(node):
        for part in ast.walk(side):
            if isinstance(part, (ast.Name, ast.Attribute)):
                word = part.id if isinstance(part, ast.Name) else part.attr
                found += [word] if word in named else []
            elif is_sentence(part):
                assert isinstance(part, ast.Constant)
                found.append(str(part.value))
    return found


def decisions(named: set[str], *folders: str) -> Iterator[tuple[str, int, str]]:
    """Yield each place that looks for a sentence in a text."""
    for name, tree in trees(*folders):
        for node in ast.walk(tree):
            for text in looked_for(node, named):
                assert isinstance(node, ast.expr)
                yield name, node.lineno, text


def test_no_line_decides_by_a_sentence() -> None:
    found = {}  # type: dict[str, set[str]]
    lines = []
    for name, line, text in decisions(sentences(), *OURS):
        if name.startswith(JUDGES) or "/tests/" in name:
            continue
        found.setdefault(name, set()).add(text)
        if text not in MEANT.get(name, ()):
            lines.append(
                f"{name}:{line} looks for {text!r}: give the refusal a code in wire/refusals"
            )
    assert lines == []
    assert found == MEANT, "an entry of MEANT is of no use any more"


@pytest.mark.parametrize(
    "line",
    [
        'reply.startswith("Sorry, ")',
        '" holds no dict but" in str(refusal)',
        'text == "Sorry, I know of no leader. Try again."',
        'reply.startswith((NOT_LEADER, ""))',
        'text.endswith(f"no such lease: {lease}. Nothing was done.")',
        '"without a vote" in reply',
        "protocol.NO_LEADER != text",
    ],
)
def test_a_line_that_decides_by_a_sentence_is_found(line: str) -> None:
    named = sentences()
    tree = ast.parse(line)
    assert any(looked_for(node, named) for node in ast.walk(tree))
