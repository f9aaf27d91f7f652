"""Two other versions of a node: the wheel of the last before levels, and this with a new verb."""

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
BUILD_WHEEL = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
SERVER_OF = """
import sys
sys.path.insert(0, {folder!r})
from raftline.server import main
sys.exit(main())
"""
ROW = '    Command("getdel", take.KEY, "the value of KEY, which is removed", level=2),\n'
FUNCTION = '''

@_applies("getdel")
def _getdel(pairs: Pairs, key: str) -> str | None:
    value = pairs.pop(key, None)
    return f"GETDEL response, no such key: {key}" if value is None else f"GETDEL response: {value}"
'''


def before_levels(folder: Path) -> list[str]:
    """Return the program of a node of level 1, whose wheel is built and unpacked into a folder;
    skip the test where the history lacks it, as in a shallow clone."""
    packed = subprocess.run(
        ["git", "-C", str(ROOT), "archive", BEFORE_LEVELS], capture_output=True, check=False
    )
    if packed.returncode:
        pytest.skip(f"the history here does not reach back to commit {BEFORE_LEVELS[:7]}")
    source = folder / "source"
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        for member in archive:
            archive.extract(member, source)
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


def with_new_verb(folder: Path) -> list[str]:
    """Return the program of a node of this version with a command of level 2, `getdel KEY`."""
    copy = folder / "src"
    shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    rows, applied = copy / "wire" / "commands.py", copy / "state" / "commands.py"
    rows.write_text(rows.read_text().replace("_ROWS = (\n", f"_ROWS = (\n{ROW}", 1))
    applied.write_text(applied.read_text() + FUNCTION)
    return [sys.executable, str(copy / "server.py")]
