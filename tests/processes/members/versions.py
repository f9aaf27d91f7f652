"""Other versions of a node: one from before the first release, and the next release."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from raftline.common.effects import own_parts
from raftline.common.extensions import KERNEL
from raftline_testing.runner.tree_copy import ROOT, copy_sources

EARLIER = "25d4c079"  # the last commit of the format before the first release
ROW = """    Command("getdel", take.KEY, "the value of KEY, which is removed", WRITE, WRITES_KEY),
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
    return [sys.executable, str(folder / "src" / "server.py")]


def _unpack(commit: str, folder: Path) -> None:
    packed = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=False
    )
    if packed.returncode:
        pytest.skip(f"the history here does not reach back to commit {commit[:7]}")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        for member in archive:
            archive.extract(member, folder)


def next_release(folder: Path) -> list[str]:
    """Return the program of a node of the next release, with a command of it, `getdel KEY`. It
    applies all others as this build does."""
    copy = copy_sources(folder)
    known = copy / "common" / "effects.py"
    before, empty = known.read_text(), "tuple[str, ...]]]] = {}\n"
    alike = {KERNEL: {own_parts()[KERNEL]: ("getdel",)}}
    assert before.count(empty) == 1
    known.write_text(before.replace(empty, empty.replace("{}", repr(alike))))
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
