"""tests/attackers.md maps each attack to its tests: every row has some, and all exist."""

from __future__ import annotations

from pathlib import Path

from raftline_testing.fuzzing.all_targets import TARGETS
from tests.lists.named_tests import TEST, is_lost

PAGE = Path(__file__).resolve().parents[2] / "tests" / "attackers.md"


def problems(page: str) -> list[str]:
    """Return the rows that name no test, and each test that a row names and that does not exist."""
    found = []
    for line in page.partition("## The fuzzer")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) != 3 or cells[0] == "attack":
            continue
        named = TEST.findall(cells[2])
        if not named:
            found.append(f"{cells[0]}: no test")
        found += [
            f"{cells[0]}: no {name} in {link}" for name, link in named if is_lost(name, PAGE, link)
        ]
    return found


def test_each_attack_has_tests_and_all_of_them_exist() -> None:
    assert problems(PAGE.read_text(encoding="utf-8")) == []


def test_a_row_without_a_test_and_a_test_that_is_gone_are_found() -> None:
    page = "| a flood | refused | |\n| a lie | no | [`test_none`](conftest.py) |\n"
    assert problems(page) == ["a flood: no test", "a lie: no test_none in conftest.py"]


def test_the_page_names_what_the_fuzzer_draws() -> None:
    said = PAGE.read_text(encoding="utf-8").partition("## The fuzzer")[2]
    assert [name for name in TARGETS if name not in said] == []
