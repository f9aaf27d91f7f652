"""How the tests are run: lanes, and what `--progress` tells."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from raftline_testing.runner import nightly

ROOT = Path(__file__).resolve().parents[2]
OF_ALL_LANES = (
    "tests/processes/test_smoke.py",
    "tests/processes/locks/test_watch.py",
    "tests/virtual/test_simulation.py",
)
COLLECTED_S = 400  # in which all tests are collected on any machine
MODULE = """
import pytest

from raftline_testing.runner import nightly

def test_passes():
    pass

def test_fails():
    assert 1 == 2

@pytest.fixture
def broken():
    raise OSError("no such thing")

def test_cannot_begin(broken):
    pass

@pytest.mark.slow
def test_takes_long():
    pass
"""


def run_pytest(*arguments: object) -> tuple[int, str]:
    """Run pytest with the settings of this repository; return its exit status and output."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=COLLECTED_S,
        check=False,
        stderr=subprocess.STDOUT,
        env={name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")},
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    "folder",
    [*ROOT.glob("extensions/*/tests"), ROOT / "library" / "tests", ROOT / "course" / "tests"],
    ids=lambda folder: folder.parent.name,
)
def test_folder_of_tests_loads_by_itself(folder: Path) -> None:
    """The tests of a folder load when pytest is given nothing else."""
    status, output = run_pytest(folder, "--collect-only")
    assert status == 0, output[-2000:]


def collected(*arguments: object) -> set[str]:
    status, output = run_pytest("--collect-only", *arguments)
    assert status == 0, output
    return set(re.findall(r"^tests/.*::.*$", output, re.MULTILINE))


@pytest.mark.timeout(4 * COLLECTED_S)
def test_each_test_is_in_one_of_three_lanes() -> None:
    lanes = ("--lane=quick", "--lane=rest", "--lane=nightly")
    quick, rest, night = (collected(lane, *OF_ALL_LANES) for lane in lanes)
    every = collected(*OF_ALL_LANES)
    assert quick | rest == every
    assert len(quick) + len(rest) == len(every)
    assert not night & every
    one = min(night)
    assert collected(one) == {one}
    assert "-C testing night" in [targets for targets, _ in nightly.CAMPAIGNS]
    smoke = {name for name in quick if name.startswith("tests/processes/")}
    assert {name.split("::")[0] for name in smoke} == {"tests/processes/test_smoke.py"}
    assert len(smoke) == 10
    assert sum("test_every_schedule_of_faults" in name for name in quick) == 1


def test_a_word_selects_by_the_name_of_a_file_or_function() -> None:
    of_file = collected("--word=true_replies", "tests/processes/promises")
    assert {name.partition("::")[0] for name in of_file} == {
        "tests/processes/promises/test_true_replies.py"
    }
    (by_hand,) = collected("--word=logs_by_hand", "tests/processes/promises")
    assert by_hand.endswith("::test_logs_by_hand_are_accepted_as_they_are")
    status, output = run_pytest("-n2", "--word=nowhere", "tests/processes/promises")
    assert status != 0
    assert "no test has 'nowhere' in the name of its file or function" in output


def test_progress_names_each_failure_and_counts_the_rest(tmp_path: Path) -> None:
    module = tmp_path / "test_module.py"
    module.write_text(MODULE)
    status, output = run_pytest(
        "--progress",
        "-o",
        "console_output_style=classic",
        "-p",
        "raftline_testing.runner.pytest_plugin",
        "-c",
        ROOT / "pyproject.toml",
        module,
    )
    lines = output.splitlines()
    assert status == 1
    failed = re.findall(r"^FAILED .*::(\w+)$", output, re.MULTILINE)
    assert failed == ["test_fails", "test_cannot_begin"]
    assert re.match(r"1 failed, 2 passed, 1 error in [\d.]+s", lines[-1])


def test_what_tests_start_keeps_bytecode_if_the_shell_forbids_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each node would compile all of its modules, which doubles the time of a start."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    module = tmp_path / "test_module.py"
    module.write_text(
        "import subprocess, sys\n"
        "def test_child():\n"
        "    code = 'import sys; sys.exit(sys.dont_write_bytecode)'\n"
        "    assert subprocess.run([sys.executable, '-c', code]).returncode == 0\n"
        "    assert not sys.dont_write_bytecode\n"
    )
    status, output = run_pytest(
        "-p", "raftline_testing.runner.pytest_plugin", "-c", ROOT / "pyproject.toml", module
    )
    assert status == 0, output
