"""The growth rows name the other systems that they would measure, too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[1]
PROGRAM = "import growth; print(*growth.missing_for({names}, etcd=True, wheel=False), sep='\\n')"


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["memory"], ["apt-get install redis-server"]),
        (["burst"], ["make build/wheel-env"]),
        (["nodes"], []),
    ],
)
def test_a_row_names_the_systems_that_it_has_to_leave_out(
    tmp_path: Path, names: list[str], found: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(names=names)],
        cwd=BENCH,
        env=os.environ | {"PATH": str(tmp_path)},  # without redis-server and java
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    lines = done.stdout.split("\n")[:-1]
    assert len(lines) == max(1, len(found)), done.stderr
    for line, part in zip(lines, found, strict=False):
        assert part in line
