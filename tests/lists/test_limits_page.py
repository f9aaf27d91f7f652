"""docs/operate/limits.md has a row for each bound in src/wire/limits.py, with its value, and for
each in a module `limits` of an extension."""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline.node.program.memory import shares_of
from raftline.wire import limits
from raftline_testing.runner.parts import MISSING, there, whole
from tests.lists.trees import sources, within

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "operate" / "limits.md"
TABLES = [path for path in sources() if path.name == "limits.py"]
PACKAGES = (
    "access",
    "common",
    "monitoring",
    "net",
    "node",
    "picture/live",
    "picture/observe",
    "picture/recording",
    "raft",
    "state",
    "storage",
    "wire",
)
NUMBER = re.compile(r"_?(\w+_)?(MAX|BYTES|CHARACTERS|KEPT|LAGGING)")
ROW = re.compile(r"^\| ([^|]+) \| `([A-Z_]+)` \| [^|]+ \|[^|]*\|$", re.M)


def bounds() -> dict[str, float]:
    paths = [path for path in TABLES if path != Path(limits.__file__)]
    tables = [limits.__dict__, *(runpy.run_path(str(path)) for path in paths)]
    return {name: value for table in tables for name, value in table.items() if name.isupper()}


def formatted(name: str, value: float) -> str:
    """Return a bound as the page writes it."""
    if name.endswith("_S"):
        return f"{value:g} s"
    if not name.endswith("_BYTES"):
        return f"{value:,}"
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value % size == 0:
            return f"{value // size:g} {unit}"
    return f"{value:g} bytes"


def test_the_page_has_each_bound_with_its_value_once() -> None:
    found = [(name, said) for said, name in ROW.findall(PAGE.read_text(encoding="utf-8"))]
    expected = bounds()
    if MISSING:  # the page has the bounds of all parts
        found = [row for row in found if row[0] in expected]
    assert found == [(name, formatted(name, value)) for name, value in expected.items()]


@pytest.mark.parametrize("page", [PAGE, ROOT / "docs" / "use" / "watch.md"])
def test_pages_state_the_default_number_of_watches(page: Path) -> None:
    """The pages state the number of watches that a node serves by default."""
    shares = shares_of(None, limits.HISTORY_BYTES, None, has_tls=False)
    assert f"{shares.watches:,}" in page.read_text(encoding="utf-8")


@whole
def test_the_code_takes_each_bound_from_the_table() -> None:
    code = [path for path in sources() if path.name != "limits.py"]
    words = {word for path in code for word in re.findall(r"\w+", path.read_text("utf-8"))}
    assert sorted(set(bounds()) - words) == []


def is_number(value: ast.expr) -> bool:
    """Whether this is a number as it stands, and not one that is made of others by their names."""
    parts = (ast.Constant, ast.BinOp, ast.operator)
    numbers = [part for part in ast.walk(value) if isinstance(part, ast.Constant)]
    is_made = all(isinstance(part, parts) for part in ast.walk(value))
    return is_made and all(isinstance(number.value, int) for number in numbers)


def numbers_in(text: str) -> Iterator[str]:
    """Return the names of numbers that look like a bound of bytes or of a count."""
    for line in ast.parse(text).body:
        if isinstance(line, ast.AnnAssign) and line.value is not None:
            pairs: list[tuple[ast.expr, ast.expr]] = [(line.target, line.value)]
        elif isinstance(line, ast.Assign):
            target, value = line.targets[0], line.value
            pairs = [(target, value)]
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                pairs = [*zip(target.elts, value.elts, strict=True)]
        else:
            continue
        for name, number in pairs:
            if isinstance(name, ast.Name) and NUMBER.fullmatch(name.id) and is_number(number):
                yield name.id


def test_numbers_outside_the_table_are_listed_as_such() -> None:
    """other_numbers.txt lists the numbers that do not belong in the page's table."""
    listed = (Path(__file__).parent / "other_numbers.txt").read_text(encoding="utf-8")
    named = there(re.findall(r"^  (\S+)$", listed, re.MULTILINE))
    found = [
        f"{within(path).removesuffix('.py')}.{name}"
        for path in [
            *(path for package in PACKAGES for path in sources(package)),
            *(ROOT / "extensions" / "recipes").glob("*.py"),  # what is below are clients
        ]
        if path != ROOT / "src" / "wire" / "limits.py"
        for name in numbers_in(path.read_text(encoding="utf-8"))
    ]
    assert sorted(named) == sorted(found)


def test_a_number_is_not_taken_for_what_is_made_of_the_table() -> None:
    text = """
A_MAX = 4 << 10
B_BYTES: Final = 16
C_BYTES, D_MAX = 16, LIMIT
E_MAX = limits.BATCHES
F_BYTES = LONG_BYTES // 2
LAGGING = 16
G_S = 3
NAME_MAX = "x"
"""
    assert list(numbers_in(text)) == ["A_MAX", "B_BYTES", "C_BYTES", "LAGGING"]
