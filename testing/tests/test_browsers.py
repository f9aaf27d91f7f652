"""`make -C testing browsers`, which CI runs: without a mirror the tests in a browser are skipped,
and one line says so."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKE = shutil.which("make")
USED = ("sh", "timeout", "tail", "sleep")
UPDATED = 'case "$*" in *update*) exit 0;; esac; '


@pytest.mark.skipif(MAKE is None, reason="there is no make here")
@pytest.mark.parametrize(
    ("apt", "user", "said"),
    [
        ("exit 0", 0, ""),
        ("echo E: no network; exit 100", 0, "apt installs none now: E: no network\n"),
        (f"{UPDATED} echo a; echo E: not found; exit 100", 0, "now: E: not found\n"),
        (f"{UPDATED} case $* in *--no-download*) echo E: full; exit 100;; esac", 0, "E: full\n"),
        ("sleep 60", 0, "apt installs none now: \n"),
        ("exit 0", 1000, "since apt and root install it, and one of them is not here\n"),
        (None, 0, "since apt and root install it, and one of them is not here\n"),
    ],
    ids=["installed", "no-network", "unknown", "disk-full", "mirror-hangs", "not-root", "no-apt"],
)
def test_browsers_that_cannot_be_had_refuse_no_change(
    tmp_path: Path, apt: str | None, user: int, said: str
) -> None:
    commands = {"id": f"echo {user}", **({"apt-get": apt} if apt else {})}
    for name, body in commands.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    for name in USED:
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    patience = "BROWSERS_S=1" if said.endswith(": \n") else "BROWSERS_S=60"
    done = subprocess.run(
        [str(MAKE), "-s", "-f", "testing/Makefile", "browsers", patience],
        cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr.count("\n") == bool(said)
    assert done.stderr.endswith(said)
    assert done.stderr.startswith("skipped: the tests in a browser, since ") or not said
