"""The list of mutants: one-line faults, each of which a test must notice.

They are in the `.txt` files next to this one, a block of lines for each:

    majority-of-half mistake 1: half of the voters make a majority
    @ src/raft/membership.py majority
    - return len(voters) // 2 + 1
    + return (len(voters) + 1) // 2
    ? tests/core/members/test_membership.py

The name, and why it is a fault; the file, and the function (or `Class.method`) that has the line;
the line, without its indentation, and its replacement of one or more lines; the tests that run
first. A line `! …` says why a mutant is known to survive.
"""

from __future__ import annotations

import ast
import functools
import re
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
EQUIVALENT = HERE / "equivalent.txt"  # faults that mutate.py does not plant
ROOT = HERE.parents[2]
_TITLE = re.compile(r"([a-z][a-z0-9-]*) (.+)")


class MutantError(Exception):
    """An entry of the list that is incomplete, or no longer fits its file."""


@dataclass
class Mutant:
    """One line of one file, changed for the worse."""

    name: str
    why: str
    file: str = ""
    function: str = ""  # "": the line is unique in the file
    old: str = ""
    new: str = ""
    tests: list[str] = field(default_factory=list)
    survives: str = ""  # why no test notices; "": one does

    @property
    def mistake(self) -> str:
        """The number of the common mistake that it represents, or ""."""
        match = re.match(r"mistake (\d+)", self.why)
        return match[1] if match else ""

    def applied(self, source: str) -> str:
        """Return the file's text with the fault in it.

        Raises:
            MutantError: the line doesn't occur exactly once there, or the result isn't valid
                Python.
        """
        first, last = 1, source.count("\n") + 1
        if self.function:
            first, last = _lines_of(self, source)
        lines = source.split("\n")
        places = [n for n in range(first - 1, last) if lines[n].strip() == self.old]
        if len(places) != 1:
            raise MutantError(
                f"{self.name}: {self.old!r} occurs {len(places)} times in {self.file} "
                f"{self.function}".rstrip()
            )
        line = lines[places[0]]
        indent = line[: len(line) - len(line.lstrip())]
        lines[places[0]] = indent + self.new.replace("\n", f"\n{indent}")
        mutated = "\n".join(lines)
        if not (self.function and _is_python("\n".join(lines[first - 1 : last]))):
            try:
                ast.parse(mutated)
            except SyntaxError as error:
                raise MutantError(f"{self.name}: {error}") from None
        return mutated


def _is_python(function: str) -> bool:
    """Whether a function is valid by itself, which is faster to check than its whole file."""
    try:
        ast.parse(textwrap.dedent(function))
    except SyntaxError:
        return False
    return True


def _lines_of(mutant: Mutant, source: str) -> tuple[int, int]:
    """Return the first and last line of the named function or class."""
    *outer, name = mutant.function.split(".")
    places = [
        lines
        for names, lines in _definitions(source)
        if names[-1] == name and [each for each in names[:-1] if each in outer] == outer
    ]
    if len(places) != 1:
        raise MutantError(
            f"{mutant.name}: {len(places)} functions {mutant.function} in {mutant.file}"
        )
    return places[0]


@functools.cache
def _definitions(source: str) -> list[tuple[list[str], tuple[int, int]]]:
    """Return each function and class by its qualified name, with its lines."""
    definitions = []
    waiting: list[tuple[list[str], ast.AST]] = [([], ast.parse(source))]
    while waiting:
        names, node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names = [*names, node.name]
            definitions.append((names, (node.lineno, node.end_lineno or node.lineno)))
        waiting += [
            (names, inner)
            for inner in ast.iter_child_nodes(node)
            if isinstance(inner, (ast.stmt, ast.excepthandler, ast.match_case))
        ]
    return definitions


def mutants() -> list[Mutant]:
    """Return all mutants in their listed order.

    Raises:
        MutantError: a block lacks a required line, or a name occurs twice.
    """
    all_mutants = [
        one
        for path in sorted(HERE.glob("*.txt"))
        if path != EQUIVALENT
        for one in read(path.read_text("utf-8"))
    ]
    names = [mutant.name for mutant in all_mutants]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise MutantError(f"listed twice: {', '.join(sorted(twice))}")
    return all_mutants


def read(text: str) -> list[Mutant]:
    """Return the mutants of one file of the list."""
    return [
        _read_block(block.strip().splitlines())
        for block in re.split(r"\n\s*\n", re.sub(r"(?m)^#.*\n", "", text))
        if block.strip()
    ]


def _read_block(lines: list[str]) -> Mutant:
    title = _TITLE.fullmatch(lines[0])
    if title is None:
        raise MutantError(f"no name and reason: {lines[0]!r}")
    mutant = Mutant(title[1], title[2])
    for line in lines[1:]:
        mark, _, rest = line.partition(" ")
        if mark == "@":
            mutant.file, _, mutant.function = rest.partition(" ")
        elif mark == "-":
            mutant.old = rest.strip()
        elif mark == "+":
            mutant.new += f"\n{rest}" if mutant.new else rest.strip()
        elif mark == "?":
            mutant.tests += rest.split()
        elif mark == "!":
            mutant.survives = f"{mutant.survives} {rest}".strip()
        else:
            raise MutantError(f"{mutant.name}: a line of no known kind: {line!r}")
    if not (mutant.file and mutant.old and mutant.new) or mutant.old == mutant.new:
        raise MutantError(f"{mutant.name}: the file, the line or its change is missing")
    return mutant
