"""Each refusal that a node can make has a code, or is a mistake of who asked.

A mistake has the code `bad-request`: its sentence names what is wrong, and the right form. That a
node makes a sentence for each row, and that the page has each code, is in core/test_refusals.py.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator

from raftline.wire.protocol import error
from raftline.wire.replies.refusals import BAD_REQUEST, REFUSALS, SORRY, code_of
from tests.lists.trees import trees

# Calls that make a refusal: the place of its sentence, and what others add to it. ProtocolError,
# Unfit and ProofError are of mistakes, and of proofs between members.
MAKERS = {
    "error": (0, ""),
    "HalfApplied": (0, ""),
    "BackupFailed": (0, ""),
    "TransactionRefused": (0, ". Nothing was done."),
    "TransferRefused": (0, "."),
    "ChangeRefused": (0, ". Nothing was changed."),
    "_expect": (1, ". Nothing was changed."),
}
# Functions that return one.
WHY_NOT = {
    "src/net/protocol/admission.py": {"_why_unproven", "why_too_long"},
    "src/node/program/node_server.py": {"_why_below", "why_no_peer"},
    "src/raft/transfer.py": {"why_unfit"},
    "src/state/commands/machines.py": {"why_not"},
}
PASSED_ON = {"", SORRY, ".", ". ", ". Nothing was done."}  # beside another's sentence
FILLED_IN = ("4", "s1", "admin ann")  # in place of what a node fills in
FOLDERS = ("src/access", "src/net", "src/node", "src/raft", "src/state", "src/wire", "src/storage")
MISTAKES = {
    "src/access/login.py": {"this is no message of "},
    "src/net/protocol/admission.py": {" proved itself on this ", " proved nothing on this "},
    "src/net/protocol/local_commands.py": {
        "no backup was begun on this ",
        "no backup is here any more: ",
    },
    "src/node/program/node_server.py": {" was removed from the ", " is no peer of "},
    "src/state/commands/key_commands.py": {" is no whole number from "},
    "src/state/commands/object_commands.py": {"there is no operation "},
    "src/state/sessions.py": {" was another command"},
    "src/state/commands/transaction_commands.py": {" no entry has that index yet"},
    "src/wire/commands/observe_lines.py": {"this connection observes "},
    "src/wire/commands/watch_lines.py": {"no watch with", "a watch with"},
}
# Sentences that two functions make together; core/test_refusals.py has their codes.
TOGETHER = {
    "src/wire/commands/watch_lines.py": {
        " are gone; ",
        " is not in the log ",
        " on with: ",
        "Begin with: ",
    }
}


# Codes of sentences that are made of parts; core/test_refusals.py has each as a node makes it.
OF_PARTS = {
    "done-once", "events-gone", "lease-over", "no-login", "not-allowed", "not-understood",
    "speaks-elsewhere",
    "tls-only", "watch-ended", "wrong-kind",
}  # fmt: skip
LISTED = {name: MISTAKES.get(name, set()) | TOGETHER.get(name, set()) for name in MISTAKES}


def filled(value: ast.AST, by: str) -> str:
    """Return the text of an expression, "" if it stands elsewhere."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value
    if isinstance(value, ast.JoinedStr):
        return "".join(filled(part, by) for part in value.values)
    return by if isinstance(value, ast.FormattedValue) else ""


def sentences_in(tree: ast.Module, functions: Collection[str]) -> Iterator[tuple[ast.AST, str]]:
    """Yield each expression that is a refusal, or becomes one, and what others add to it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            place, end = MAKERS.get(node.func.id, (len(node.args), ""))
            yield from ((sentence, end) for sentence in node.args[place : place + 1])
        elif isinstance(node, ast.FunctionDef) and node.name in functions:
            end = "." if node.name == "why_unfit" else ""  # of a transfer
            returns = [each for each in ast.walk(node) if isinstance(each, ast.Return)]
            yield from ((each.value, end) for each in returns if each.value is not None)
        elif isinstance(node, ast.Return | ast.Assign) and node.value is not None:
            is_whole = filled(node.value, "4").startswith(SORRY)
            yield from [(node.value, "")] if is_whole else []


def codes(sentence: ast.AST, end: str) -> set[str]:
    """Return the codes that a sentence may have; none if it stands elsewhere."""
    if filled(sentence, "") in PASSED_ON:
        return set()
    texts = {filled(sentence, by).removeprefix(SORRY) for by in FILLED_IN}
    return {code_of(error(text + end)) for text in texts}


def test_each_refusal_in_the_source_has_a_code_or_is_a_mistake() -> None:
    found: dict[str, set[str]] = {}
    without = []
    for name, tree in trees(*FOLDERS):
        for sentence, end in sentences_in(tree, WHY_NOT.get(name, ())):
            if codes(sentence, end) != {BAD_REQUEST}:
                continue
            text = filled(sentence, "4")
            known = {each for each in LISTED.get(name, ()) if each in text}
            found.setdefault(name, set()).update(known)
            if not known:
                without.append(f"{name}: {text!r}: give it a row in wire/replies/refusals.py")
    assert without == []
    assert found == LISTED, "an entry is of no use any more"


def test_each_row_is_of_a_sentence_in_the_source() -> None:
    texts = {
        filled(sentence, by).removeprefix(SORRY) + end
        for name, tree in trees(*FOLDERS)
        for sentence, end in sentences_in(tree, WHY_NOT.get(name, ()))
        for by in FILLED_IN
    }
    found = {row.code for row in REFUSALS if any(map(re.compile(row.form, re.DOTALL).match, texts))}
    assert {row.code for row in REFUSALS} - found == OF_PARTS
