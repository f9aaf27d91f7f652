"""The sources of two versions of a node: the last before levels, and this one with a new verb."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BEFORE_LEVELS = "4067e45b51bc72e0337bf95432a846a9f769eda8"  # the last commit of level 1
ROW = '    Command("getdel", take.KEY, "the value of KEY, which is removed", level=2),\n'
FUNCTION = '''

@_applies("getdel")
def _getdel(pairs: Pairs, key: str) -> str | None:
    value = pairs.pop(key, None)
    return f"GETDEL response, no such key: {key}" if value is None else f"GETDEL response: {value}"
'''


def before_levels(folder: Path) -> list[str]:
    """Return the program of a node of level 1, whose source is put into a folder; skip the test
    where the history lacks it, as in a shallow clone."""
    packed = subprocess.run(
        ["git", "-C", str(ROOT), "archive", BEFORE_LEVELS, "src"], capture_output=True, check=False
    )
    if packed.returncode:
        pytest.skip(f"the history here does not reach back to commit {BEFORE_LEVELS[:7]}")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        for member in archive:
            archive.extract(member, folder)
    return [sys.executable, str(folder / "src" / "server.py")]


def with_new_verb(folder: Path) -> list[str]:
    """Return the program of a node of this version with a command of level 2, `getdel KEY`."""
    copy = folder / "src"
    shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    rows, applied = copy / "wire" / "commands.py", copy / "state" / "commands.py"
    rows.write_text(rows.read_text().replace("_ROWS = (\n", f"_ROWS = (\n{ROW}", 1))
    applied.write_text(applied.read_text() + FUNCTION)
    return [sys.executable, str(copy / "server.py")]
