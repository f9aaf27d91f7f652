"""The digests of what this build applies: they cover every source with an effect, and no more."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from raftline.common import effects
from raftline.common.extensions import EXTENSIONS, KERNEL, VERBS, is_there, joined, parts_in
from tests.lists.trees import ROOT, file_of

PARTS = sorted(effects.derive_parts())


def _without_docstrings(source: str) -> str:
    """Return a tree in which each docstring is an ellipsis, as `effective` writes it."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            value = getattr(statement, "value", None)
            if isinstance(statement, ast.Expr) and isinstance(getattr(value, "value", None), str):
                statement.value = ast.Constant(...)
    return ast.dump(tree)


def test_the_kernel_and_each_extension_with_commands_are_parts() -> None:
    there = {KERNEL} | {name for name in EXTENSIONS if file_of(f"{name}/command_rows.py").exists()}
    assert set(PARTS) == there == effects.own_parts().keys()


def test_each_verb_of_an_extension_has_its_part() -> None:
    rows = {
        row.verb: module.__name__.split(".")[-2]
        for module in joined("command_rows")
        for row in module.ROWS
    }
    assert {verb: part for verb, part in VERBS.items() if part in PARTS} == rows


@pytest.mark.parametrize("part", PARTS)
def test_a_digest_leaves_out_only_what_has_no_effect(part: str) -> None:
    for module in effects.modules_of(part):
        source = effects._source(module) or ""
        assert _without_docstrings(effects.effective(source)) == _without_docstrings(source), module


@pytest.mark.parametrize("part", PARTS)
def test_a_digest_covers_all_that_its_commands_import(part: str) -> None:
    """An interpreter that imports the commands alone loads no other module, but of another part or
    of packages."""
    roots = effects._KERNEL if part == KERNEL else [f"{part}.{seam}" for seam in effects.SEAMS]
    program = (
        f"import sys, {', '.join(f'raftline.{root}' for root in roots)}\n"
        "print(*[name for name in sys.modules if name.startswith('raftline.')])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = {name.removeprefix("raftline.") for name in run.stdout.split()}
    others = {module for other in {*PARTS} - {part} for module in effects.modules_of(other)}
    silent = {each for each in loaded if effects.effective(effects._source(each) or "") == "...\n"}
    assert loaded & effects.modules_of(part)
    lazy = {"__init__", "raft"}  # each loads what it names at its first use
    assert loaded - others - silent - lazy <= effects.modules_of(part)


@pytest.mark.parametrize("part", PARTS)
def test_code_changes_the_digest_and_a_comment_does_not(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, really = effects.derive_parts()[part], effects._source
    for module in sorted(effects.modules_of(part)):
        for changed, differs in (
            ("# A word.\n\n", False),
            ("LIMIT = 7\n", True),
        ):
            monkeypatch.setattr(
                effects,
                "_source",
                lambda name, module=module, changed=changed: (
                    f"{really(name)}{changed}" if name == module else really(name)
                ),
            )
            assert (effects.derive_parts()[part] != before) == differs, module


@pytest.mark.slow
def test_every_python_here_derives_the_same_digests() -> None:
    program = (
        "import sys; sys.path.insert(0, 'src'); from raftline.common.effects import derive_parts; "
        "print(sorted(derive_parts().items()))"
    )
    expected = str(sorted(effects.derive_parts().items()))
    for name in {*(f"python3.{minor}" for minor in range(10, 20)), sys.executable}:
        try:
            run = subprocess.run(
                [name, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
            )
        except (FileNotFoundError, subprocess.CalledProcessError):
            continue
        assert run.stdout.strip() == expected, name


def test_a_wheel_holds_the_digests_of_its_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """`frozen.py`, which setup.py writes, has them; the extensions that are there count."""
    frozen = {KERNEL: "2" * 12, "redis": "0" * 12, "gone": "1" * 12}
    module = type(sys)("raftline.common.frozen")
    module.PARTS = frozen  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "raftline.common.frozen", module)
    try:
        effects.own_parts.cache_clear()
        kept = {"redis": "0" * 12} if is_there("redis") else {}
        assert effects.own_parts() == {KERNEL: "2" * 12} | kept
    finally:
        effects.own_parts.cache_clear()


@pytest.mark.parametrize(
    "form",
    [
        "{}", "c#1@{}", "alice@{}", "under lease-5 {}", "c@under lease-5 {}", "txn {}",
        "txn set q 1 ; {}", "c#2@txn {} ; set q 1", "txn set q 1 ; under lease-5 {} ; set r 2",
        "txn if a = 1 then {} else set b 2", "txn if a = 1 then set b 2 else under lease-5 {}",
    ],
)  # fmt: skip
def test_the_parts_of_a_command(form: str) -> None:
    """A verb counts wherever an operation may begin, and nowhere else."""
    for verb, part in VERBS.items():
        assert parts_in(form.format(f"{verb} a b c")) == parts_in(form.format(verb)) == {part}
    for other in (
        "set a object",
        "set a@redis x",
        "get hold",
        "under",
        "under lease-5",
        "",
        "hol a",
    ):
        assert parts_in(form.format(other)) == set()
