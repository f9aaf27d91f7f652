"""The list of one-line faults is true, and some of them are caught here and now."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

import pytest

from raftline_testing.mutants.faults import faults_of
from raftline_testing.mutants.listed import ROOT, Mutant, MutantError, mutants, read
from raftline_testing.mutants.mutate import equivalents
from raftline_testing.runner.parts import is_missing

MISTAKES = 34
RUN = ROOT / "testing" / "raftline_testing" / "mutants" / "run.py"
# Caught by tests that take a second, one for each package.
QUICK = (
    "majority-of-half", "commit-by-counting", "second-vote-in-a-term", "session-check-skipped",
    "torn-tail-taken", "configuration-not-rolled-back",
)  # fmt: skip

LISTED = mutants()


def problems(listed: Iterable[Mutant]) -> list[str]:
    """Return what is wrong with the mutants of a list, each with its name."""
    found = []
    for mutant in listed:
        if is_missing(mutant.file):
            continue
        try:
            mutant.applied((ROOT / mutant.file).read_text(encoding="utf-8"))
        except (MutantError, OSError) as error:
            found.append(f"{mutant.name}: {error}")
        if not mutant.tests and not mutant.survives:
            found.append(f"{mutant.name}: no test, and no reason why it survives")
        found += [
            f"{mutant.name}: no {test}"
            for test in mutant.tests
            if not is_missing(test) and not (ROOT / test.split("::")[0]).exists()
        ]
    return found


def test_each_equivalent_fault_can_still_be_planted() -> None:
    """Its line is one that the rules find there today."""
    listed = [entry for entry, _ in equivalents() if not is_missing(entry)]
    files = {entry.partition(" ")[0] for entry in listed}
    found = {
        f"{file} {fault.function}: {fault}"
        for file in files
        for fault in faults_of((ROOT / file).read_text(encoding="utf-8"))
    }
    assert [entry for entry in listed if entry not in found] == []


def test_each_mutant_still_fits_its_file_and_its_tests_are_there() -> None:
    assert problems(LISTED) == []


def test_every_wrong_mutant_is_named() -> None:
    line, here = "ROOT = HERE.parents[2]", "testing/raftline_testing/mutants/listed.py"
    listed = read(
        f"gone why\n@ tests/mutants/nowhere.py\n- {line}\n+ pass\n? tests\n\n"
        f"other why\n@ {here}\n- no such line\n+ pass\n? tests/nowhere.py\n\n"
        f"untested why\n@ {here}\n- {line}\n+ pass\n\n"
        f"sound why\n@ {here}\n- {line}\n+ pass\n? tests\n"
    )
    found = [problem.split(": ")[0] for problem in problems(listed)]
    assert found == ["gone", "other", "other", "untested"]


def test_a_mutant_may_stand_in_a_coroutine() -> None:
    source = "async def ask():\n    return 1\n\n\ndef tell():\n    return 1\n"
    [mutant] = read("late why\n@ src/some.py ask\n- return 1\n+ return 2\n? tests\n")
    assert mutant.applied(source) == source.replace("return 1", "return 2", 1)


def test_every_listed_mistake_has_a_mutant() -> None:
    assert len(LISTED) >= MISTAKES
    found = {int(mutant.mistake) for mutant in LISTED if mutant.mistake}
    assert found == set(range(1, MISTAKES + 1))


def test_a_changed_line_makes_the_list_an_error() -> None:
    (mutant,) = read("gone mistake 1: x\n@ src/raft/log.py\n- no such line\n+ pass\n? tests")
    with pytest.raises(MutantError, match="gone: 'no such line' occurs 0 times"):
        mutant.applied("a line\n")
    (mutant,) = read("two why\n@ f.py\n- pass\n+ return\n? tests")
    with pytest.raises(MutantError, match="occurs 2 times"):
        mutant.applied("def a():\n    pass\ndef b():\n    pass\n")
    (mutant,) = read("one why\n@ f.py b\n- pass\n+ return\n? tests")
    assert mutant.applied("def a():\n    pass\ndef b():\n    pass\n").endswith("    return\n")


@pytest.mark.nightly
def test_some_mutants_are_caught_in_this_run() -> None:
    hunt = subprocess.run(
        [sys.executable, str(RUN), "-j", "1", "--stages", "own", "--only", *QUICK],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert hunt.returncode == 0, hunt.stdout + hunt.stderr
    assert f"{len(QUICK)} of {len(QUICK)} mutants caught" in hunt.stdout
