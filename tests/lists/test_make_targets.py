"""Each `make` command that a page, a message, a comment or a workflow names is there."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Where a command stands: in backticks, after a colon or `&&`, at the start of a line of a shell, in
# the quotes of a script. `make -C FOLDER`, and `make` with a path, are commands anywhere.
IN_TEXT = r"`|(?:: |&& )(?!make (?:it|its|them|a|an|the) )"
BEGINS = {".md": r"^|", ".yml": r"run: |", "Makefile": r"[\"']|", "run": r"^|[\"']|"}
TARGET = r"(?P<target>(?:[.a-z]|\{[^{}]*\})(?:[\w./-]|\{[^{}]*\})*)"
RULE = re.compile(r"^([^\s#:=][^#:=\n]*?):(?!=)", re.MULTILINE)
HISTORY = "CHANGELOG.md"  # names targets of earlier commits, too


@cache
def targets(folder: str) -> frozenset[str]:
    """Return the targets of the Makefile in a folder, with those of deploy/rules.mk."""
    makefiles = (ROOT / folder / "Makefile", ROOT / "deploy" / "rules.mk")
    text = "\n".join(path.read_text("utf-8") for path in makefiles)
    found = {target for rule in RULE.findall(text) for target in rule.split()}
    return frozenset(found - {"%", "FORCE"})  # these two pass any target on


def exists(folder: str, target: str) -> bool:
    """Whether a target is there. A value that is put in stands for any word, but not for all."""
    if re.fullmatch(r"\{[^{}]*\}", target):
        return False
    asked = re.sub(r"\\{.*?\\}", r"[\\w.-]+", re.escape(target))
    return any(
        re.fullmatch(asked, one) or re.fullmatch(re.escape(one).replace("%", r"[\w.-]+"), target)
        for one in targets(folder)
    )


def files() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0 or "README.md" not in listed.stdout.split("\n"):
        pytest.skip("this copy of the files is not a git repository")
    return [name for name in listed.stdout.split("\n") if (ROOT / name).is_file()]


def named_in(name: str) -> set[tuple[str, str]]:
    """Return the folder and the target of each command that a file names."""
    path = ROOT / name
    begins = BEGINS.get(path.suffix or path.name, "") + IN_TEXT
    command = re.compile(
        rf"(?:(?:{begins})make (?:-s )?|\bmake -C (?P<folder>[\w/]+) |\bmake (?=build/)){TARGET}",
        re.MULTILINE,
    )
    text = path.read_bytes().decode("utf-8", "replace")
    return {(found["folder"] or "", found["target"]) for found in command.finditer(text)}


def test_each_make_command_names_a_target() -> None:
    wrong = {
        (name, " ".join(["make", *([f"-C {folder}"] if folder else []), target]))
        for name in files()
        if name != HISTORY
        for folder, target in named_in(name)
        if not (ROOT / folder / "Makefile").exists() or not exists(folder, target)
    }
    assert wrong == set()
