"""Other versions of a node: late ones of levels 3 and 4, and this one with a new verb."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LEVEL_3 = "71868988f8771226f36b71dbece11d9c5499cf46"  # the last commit of level 3
LEVEL_4 = "c5d0fbf16791f727f8f48043a0f163bfe6abfedd"  # a late commit of level 4
ROW = """    Command("getdel", take.KEY, "the value of KEY, which is removed", WRITE, WRITES_KEY,
            level=5),
"""
FUNCTION = """

@applies("getdel")
def _getdel(store: Store, key: str) -> str | None:
    value = store.pop(key, None)
    return f"GETDEL response, no such key: {key}" if value is None else f"GETDEL response: {value}"
"""


def unpacked(commit: str, folder: Path) -> list[str]:
    """Return the program of a node of a commit, unpacked into a folder; skip the test if the
    history lacks it."""
    _unpack(commit, folder)
    of_course = folder / "course" / "raftline_course" / "node.py"  # obeys a controller, from 3 on
    server = of_course if of_course.exists() else folder / "src" / "server.py"
    return [sys.executable, str(server)]


def _unpack(commit: str, folder: Path) -> None:
    packed = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=False
    )
    if packed.returncode:
        pytest.skip(f"the history here does not reach back to commit {commit[:7]}")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        for member in archive:
            archive.extract(member, folder)


def with_new_verb(folder: Path) -> list[str]:
    """Return the program of a node of this version with a command of level 5, `getdel KEY`."""
    copy = folder / "src"
    shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    rows = copy / "wire" / "commands" / "command_table.py"
    applied = copy / "state" / "commands" / "key_commands.py"
    rows.write_text(rows.read_text().replace("_ROWS = (\n", f"_ROWS = (\n{ROW}", 1))
    applied.write_text(applied.read_text() + FUNCTION)
    shutil.copytree(
        ROOT / "course" / "raftline_course",
        folder / "course" / "raftline_course",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return [sys.executable, str(folder / "course" / "raftline_course" / "node_program.py")]
