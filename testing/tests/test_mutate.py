"""The faults that are planted by rule, and the run that judges them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from raftline_testing.mutants.faults import ASK, FIRST, faults_of, planted
from raftline_testing.mutants.listed import ROOT
from raftline_testing.mutants.mutate import equivalents
from raftline_testing.runner.tree_copy import SOURCES

SOURCE = '''
"""A module."""
from typing import Final
TABLE: Final = {"a": 1 + 1}


class Account:
    """An account."""

    limit: int = 3

    def __init__(self) -> None:
        self.paid: list[int] = []

    def pay(self, *sums: int) -> str:
        """Pay."""
        for each in sums:
            if each > 0 and not self.is_full():
                self.paid.append(each)
        return f"{sum(self.paid) + 0}"

    def is_full(self) -> bool:
        return sum(self.paid) >= self.limit
'''


def answers(number: int | None) -> list[str]:
    """Run the module with one fault in force; return how three accounts answer."""

    def first(is_in_force: bool, each: Iterable[Any]) -> Iterable[Any]:
        return islice(each, 1) if is_in_force else each

    asked: Callable[[int], bool] = lambda at: at == number  # noqa: E731
    names: dict[str, Any] = {ASK: asked, FIRST: first, "__name__": "accounts"}
    exec(compile(planted(SOURCE, range(100)), "accounts", "exec"), names)
    accounts = names["Account"]
    return [accounts().pay(1, 2, 1), accounts().pay(0, -1, 3), accounts().pay(0)]


def test_a_module_works_while_no_fault_is_in_force() -> None:
    assert answers(None) == ["3", "3", "0"]


def test_each_fault_is_of_its_line_and_is_in_force_alone() -> None:
    found = faults_of(SOURCE)
    assert {fault.function for fault in found} == {"Account.pay", "Account.is_full"}
    changed = {str(fault): answers(fault.number) for fault in found}
    assert changed["for each of sums  ->  for the first of sums"] == ["1", "0", "0"]
    assert changed["not self.is_full()  ->  self.is_full()"] == ["0", "0", "0"]
    assert changed["self.paid.append(each)  ->  pass"] == ["0", "0", "0"]
    assert changed["each > 0 and (not self.is_full())  ->  each > 0"] == ["4", "3", "0"]
    assert changed["each > 0 and (not self.is_full())  ->  not self.is_full()"] == ["3", "2", "0"]
    same = [fault for fault, said in changed.items() if said == answers(None)]
    assert same == ["each > 0  ->  each >= 0"]
    lines = SOURCE.splitlines()
    assert all(fault.old.split()[-1].strip(":()") in lines[fault.line - 1] for fault in found)


@pytest.mark.nightly
def test_every_module_of_the_store_takes_its_faults() -> None:
    for path in (path for name in SOURCES for path in sorted((ROOT / name).rglob("*.py"))):
        source = path.read_text(encoding="utf-8")
        numbers = {fault.number for fault in faults_of(source)}
        compile(planted(source, numbers), str(path), "exec")


def test_each_equivalent_fault_is_still_one_of_its_file() -> None:
    for entry, why in equivalents():
        file, _, fault = entry.partition(" ")
        found = faults_of((ROOT / file).read_text(encoding="utf-8"))
        assert fault in {f"{each.function}: {each}" for each in found}, entry
        assert why


@pytest.mark.nightly
def test_a_fault_is_noticed_by_its_test_and_missed_by_others(tmp_path: Path) -> None:
    """Faults of a folder, and tests that execute some of them; in one run, and as CI does it."""
    tests = "tests/core/members/test_membership.py"
    drawn = ["--all", "--count", "8"]
    whole = mutate(*drawn, "--tests", tests, "--", "src/raft")
    assert " of 8 faults noticed, " in whole
    assert "no test executes it" in whole
    mutate(*drawn, "--plant", str(tmp_path / "faults"), "src/raft")
    environment = {**os.environ, "RAFTLINE_FAULTS": str(tmp_path / "faults/plan-all.json")}
    plugin = "raftline_testing.mutants.judge_faults"
    command = [sys.executable, "-m", "pytest", "-q", "--lane", "quick", "-p", plugin, tests]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    assert mutate("--judge", str(tmp_path / "faults")).splitlines()[1:] == whole.splitlines()[1:]


def mutate(*arguments: str) -> str:
    command = [sys.executable, "testing/raftline_testing/mutants/mutate.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "nowhere"], "nowhere"),
        (["--judge", "nowhere"], "nowhere"),
        (["--since", "HEAD", "no/folder"], "no fault to plant"),
    ],
)
def test_a_wrong_argument_is_said(arguments: list[str], said: str, tmp_path: Path) -> None:
    command = [sys.executable, "testing/raftline_testing/mutants/mutate.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert said in done.stdout + done.stderr
    assert done.returncode == (2 if "nowhere" in arguments else 0)
