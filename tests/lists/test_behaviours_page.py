"""tests/behaviours.md: every row has tests, all of them exist, and one names the row."""

from __future__ import annotations

import ast
import re
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "tests" / "behaviours.md"
ROW = re.compile(r"^\| (00\d-\d\d|F\d+|mistake \d+) \| (.+) \| (.*) \|$", re.MULTILINE)
TEST = re.compile(r"\[`(\w+)`\]\(([^)]+)\)")
NOT_BUILT_FAULTS = {95, 97, 102, 103}
KINDS = {"0": "seed ", "F": "fault ", "m": ""}


def rows() -> dict[str, list[tuple[str, Path]]]:
    """Return the tests of each row: their names, and the files that they are linked to."""
    text = PAGE.read_text(encoding="utf-8")
    return {
        row[1]: [(name, (PAGE.parent / link).resolve()) for name, link in TEST.findall(row[3])]
        for row in ROW.finditer(text)
    }


@cache
def heads_in(path: Path) -> dict[str, str]:
    """Return the tests of a file by name, each with the comments at its head."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".txt":  # a transcript is one test
        return {path.stem: text.partition("\n> ")[0]}
    lines = text.splitlines()
    heads = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            first = min(part.lineno for part in (node, *node.decorator_list)) - 1
            above = takewhile(lambda line: line.startswith("#"), reversed(lines[:first]))
            below = (line for line in lines[first : node.lineno] if line.startswith("#"))
            heads[node.name] = "\n".join([*above, *below])
    return heads


@pytest.mark.parametrize("row", rows())
def test_each_row_has_tests_that_exist_and_one_of_them_names_it(row: str) -> None:
    proofs = rows()[row]
    assert proofs, f"{row} has no test"
    assert [f"{name} in {path}" for name, path in proofs if name not in heads_in(path)] == []
    label = KINDS[row[0]] + row
    heads = "\n".join(heads_in(path)[name] for name, path in proofs)
    assert re.search(rf"\b{label}\b", heads), f"none of these tests says `# {label}`"


def test_no_row_is_missing_and_none_is_there_twice() -> None:
    expected = [f"004-{number:02}" for number in range(1, 38)]
    expected += [f"003-{number:02}" for number in range(1, 17)]
    expected += [f"002-{number:02}" for number in range(1, 14)]
    expected += [f"000-{number:02}" for number in range(1, 20)]
    expected += [f"001-{number:02}" for number in range(1, 22)]
    expected += [f"F{number}" for number in range(1, 105) if number not in NOT_BUILT_FAULTS]
    expected += [f"mistake {number}" for number in range(1, 35)]
    found = [row[1] for row in ROW.finditer(PAGE.read_text(encoding="utf-8"))]
    assert found == expected


def test_every_line_of_a_table_is_a_row() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert [
        line
        for line in lines
        if line.startswith("|") and not line.startswith(("| row |", "|---")) and not ROW.match(line)
    ] == []


def test_comments_above_and_among_the_decorators_belong_to_the_test(tmp_path: Path) -> None:
    module = tmp_path / "test_x.py"
    module.write_text(
        "# fault F1\n@mark(\n    1,\n)\n# fault F2\ndef test_a() -> None:\n    x\n\n\n"
        "# of nobody\n\ndef test_b(\n) -> None:\n    x\n"
    )
    assert heads_in(module) == {"test_a": "# fault F1\n# fault F2", "test_b": ""}
    assert heads_in(tmp_path / "nowhere.py") == {}
