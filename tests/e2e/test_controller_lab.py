"""The controller lab, followed as its sheet says: on this machine, and in containers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LAB = Path(__file__).resolve().parents[2] / "labs" / "controller"


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(LAB / script), *arguments],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


# seed 000-01, seed 000-13, seed 000-15, seed 000-19
@pytest.mark.timeout(300)
def test_every_row_of_the_lab_holds_on_this_machine() -> None:
    done = run("check.py")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = sorted(line.split()[1] for line in done.stdout.splitlines() if line.startswith("ok "))
    assert rows == [f"000-{number:02}" for number in range(1, 20)]
    assert done.stderr == ""


# seed 000-01
@pytest.mark.timeout(600)
def test_the_twelve_steps_in_containers() -> None:
    done = run("steps.py", "--containers")
    if done.returncode == 3:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(line.startswith("ok step ") for line in done.stdout.splitlines()) == 8
