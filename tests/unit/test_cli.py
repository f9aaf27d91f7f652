"""The `raftline` command where folders can't be read, are gone, or names are none: one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"


def told(
    folder: Path, *words: str, before: str = "exec", powerless: bool = False
) -> tuple[int, str]:
    """Run a command in `folder`; return its exit status and what it complains of."""
    program = [sys.executable, "-m", "raftline", *words]
    if powerless and os.geteuid() == 0:  # root reads what it likes, unless it gives that up
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("setpriv is not installed")
        program = [setpriv, "--bounding-set=-all", "--inh-caps=-all", *program]
    done = subprocess.run(
        ["sh", "-c", f'{before} "$@"', "sh", *program], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)}, timeout=60, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("status --dir shut", 2), ("up --dir shut", 2), ("recover s1 --dir shut", 2),
        ("backup new --from s1 --dir shut", 2), ("backup new --dir shut", 2),
        ("fsck shut", 3), ("fsck --dir shut", 3), ("fsck shut/s1", 2),
        ("server s1 1 --dir shut", 3), ("server s1 1 --dir shut --register", 2),
        ("restore shut/backup new --members s1=localhost:1", 2), ("simulate shut/metrics", 2),
    ],
)  # fmt: skip
def test_what_may_not_be_read_is_named_in_one_line(
    tmp_path: Path, command: str, status: int
) -> None:
    shut = tmp_path / "shut"
    shut.mkdir()
    (shut / "server-configuration.txt").write_text("s1 localhost 1\n")
    shut.chmod(0)
    try:
        code, complaint = told(tmp_path, *command.split(), powerless=True)
    finally:
        shut.chmod(0o700)
    assert code == status
    assert complaint.count("\n") == 1
    assert "shut" in complaint
    assert "Permission denied" in complaint


@pytest.mark.parametrize("command", ["status", "fsck", "recover s1", "server s1 1"])
def test_a_current_folder_that_is_gone_is_named_in_one_line(tmp_path: Path, command: str) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code, complaint = told(gone, *command.split(), before='rmdir "$PWD"; exec')
    assert (code, complaint.count("\n")) == (2, 1)
    assert "the current folder was deleted; change to one that is there" in complaint


@pytest.mark.parametrize("command", ["recover ../x --yes", "backup new --from ../x"])
def test_a_name_that_is_none_makes_no_files_elsewhere(tmp_path: Path, command: str) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (tmp_path / "x.log").write_text("1 1 set a 4\n")
    (folder / "server-configuration.txt").write_text("s1 localhost 1\n")
    code, complaint = told(tmp_path, *command.split(), "--dir", "logs")
    assert code == 2
    assert complaint.startswith("raftline: '../x' is no name of a node: a letter, then letters, ")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "logs", "server-configuration.txt", "x.log",
    ]  # fmt: skip
