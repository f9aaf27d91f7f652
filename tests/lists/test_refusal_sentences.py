"""Each call of a sentence of refusals gives all of its fields; mypy can't see that."""

from __future__ import annotations

import ast

from raftline.wire import refusal
from tests.lists.trees import trees

SENTENCES = {
    name: kind for name, kind in vars(refusal).items() if isinstance(kind, refusal.Sentence)
}
FOLDERS = ("src", "library", "extensions", "course")


def test_each_call_of_a_sentence_gives_its_fields() -> None:
    called, wrong = set(), []
    for name, tree in trees(*FOLDERS):
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            kind = SENTENCES.get(node.func.id)
            if kind is None:
                continue
            called.add(node.func.id)
            is_plain = not node.keywords and not any(
                isinstance(one, ast.Starred) for one in node.args
            )
            if not is_plain or len(node.args) != len(kind.fields):
                wrong.append(f"{name}:{node.lineno}: {node.func.id} takes {', '.join(kind.fields)}")
    assert wrong == []
    of_lengths = {"KEY_TOO_LONG", "PREFIX_TOO_LONG", "VALUE_TOO_LONG"}  # called from a dictionary
    assert set(SENTENCES) - called == of_lengths, "a sentence that no node makes"
