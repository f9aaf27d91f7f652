"""The Python that runs the nodes of raftline: one that was compiled with a profile, as the builds
that people use are (src/common/interpreter.py), if there is one here."""

from __future__ import annotations

import argparse
import glob
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

from script import end_with

INTERPRETER = Path(__file__).resolve().parents[1] / "src/common/interpreter.py"
OLDEST = (3, 10)
FOLDERS = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin", "/usr/local/bin"]
NONE = (
    "no Python here is known to be optimized, as those of Debian, python.org and uv are: figures "
    "of raftline are lower than people get"
)


class Python(NamedTuple):
    """An interpreter; `is_optimized` is None if its build does not tell."""

    version: tuple[int, ...]
    is_optimized: bool | None
    path: str

    @property
    def text(self) -> str:
        how = {None: "", True: ", optimized", False: ", not optimized"}[self.is_optimized]
        return ".".join(map(str, self.version)) + how


@cache
def of_nodes() -> Python:
    """Return the newest optimized Python on the PATH if the one that runs this is not optimized, or
    else the one that runs this."""
    own = look_at(sys.executable) or Python((), None, sys.executable)
    if own.is_optimized:
        return own
    paths = {path for folder in FOLDERS for path in glob.glob(f"{folder}/python3*")}
    found = filter(None, [look_at(path) for path in sorted(paths) if os.access(path, os.X_OK)])
    return max([one for one in found if one.is_optimized and one.version >= OLDEST], default=own)


def complaint() -> str:
    """Return the line for a machine without an optimized Python, or ""."""
    return "" if of_nodes().is_optimized else NONE


def described(path: str) -> str:
    """Return the version of a Python, and whether it is optimized; "" of another program."""
    found = look_at(path)
    return found.text if found else ""


def look_at(path: str) -> Python | None:
    """Return what a Python says of itself; None of another program."""
    try:
        done = subprocess.run(
            [path, "-S", str(INTERPRETER)], capture_output=True, text=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return None
    facts = json.loads(done.stdout)
    version = tuple(map(int, facts["python"].split(".")))
    return Python(version, facts["python_optimized"], path)


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(of_nodes().path)
    return 0


if __name__ == "__main__":
    end_with(main)
