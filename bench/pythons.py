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

from script import end_with

INTERPRETER = Path(__file__).resolve().parents[1] / "src/common/interpreter.py"
OLDEST = (3, 10)
FOLDERS = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin", "/usr/local/bin"]
NONE = (
    "no Python here is known to be optimized, as those of Debian, python.org and uv are: figures "
    "of raftline are lower than people get"
)


@cache
def of_nodes() -> tuple[str, str]:
    """Return the path of the Python that runs the nodes, and what it is. It is the one that runs
    this, unless that is not optimized and another one on the PATH is: then the newest of these."""
    own = sys.executable, described(sys.executable)
    if _is_optimized(own):
        return own
    paths = {path for folder in FOLDERS for path in glob.glob(f"{folder}/python3*")}
    found = [(path, described(path)) for path in sorted(paths) if os.access(path, os.X_OK)]
    usable = [one for one in found if _is_optimized(one) and _version(one) >= OLDEST]
    return max(usable, key=_version, default=own)


def complaint() -> str:
    """Return the line for a machine without an optimized Python, or ""."""
    return "" if _is_optimized(of_nodes()) else NONE


def _is_optimized(python: tuple[str, str]) -> bool:
    return python[1].endswith(", optimized")


def _version(python: tuple[str, str]) -> tuple[int, ...]:
    numbers = python[1].partition(",")[0].split(".")
    return tuple(int(number) for number in numbers if number.isdecimal())


def described(path: str) -> str:
    """Return the version of a Python, and whether it is optimized; "" of another program."""
    try:
        done = subprocess.run(
            [path, "-S", str(INTERPRETER)], capture_output=True, text=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    facts = json.loads(done.stdout)
    how = {None: "", True: ", optimized", False: ", not optimized"}[facts["python_optimized"]]
    return str(facts["python"]) + how


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(of_nodes()[0])
    return 0


if __name__ == "__main__":
    end_with(main)
