"""Other versions of a node: late ones of levels 1 to 3, and this one with a new verb."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BEFORE_LEVELS = "4067e45b51bc72e0337bf95432a846a9f769eda8"  # the last commit of level 1
LEVEL_2 = "f64107a9494a66d40ae818106776c4665a04d36e"  # a late commit of level 2
LEVEL_3 = "71868988f8771226f36b71dbece11d9c5499cf46"  # the last commit of level 3
LEVEL_4 = "c5d0fbf16791f727f8f48043a0f163bfe6abfedd"  # a late commit of level 4
BUILD_WHEEL = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
SERVER_OF = """
import sys
sys.path.insert(0, {folder!r})
from raftline.server import main
sys.exit(main())
"""
ROW = """    Command("getdel", take.KEY, "the value of KEY, which is removed", WRITE, WRITES_KEY,
            level=5),
"""
FUNCTION = """

@applies("getdel")
def _getdel(store: Store, key: str) -> str | None:
    value = store.pop(key, None)
    return f"GETDEL response, no such key: {key}" if value is None else f"GETDEL response: {value}"
"""


def before_levels(folder: Path) -> list[str]:
    """Return the program of a node of level 1, whose wheel is built and unpacked into a folder;
    skip the test if the history lacks it, as in a shallow clone."""
    source = folder / "source"
    _unpack(BEFORE_LEVELS, source)
    subprocess.run(
        [sys.executable, "-c", BUILD_WHEEL, str(folder)],
        cwd=source,
        capture_output=True,
        check=True,
    )
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed_wheel:
        packed_wheel.extractall(folder)
    return [sys.executable, "-c", SERVER_OF.format(folder=str(folder))]


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
