"""The quick tests in a copy of the tree that lacks a part: the library, or an extension.

    python -m raftline_testing.runner.without
    python -m raftline_testing.runner.without redis
    python -m raftline_testing.runner.without today --slice
    python -m raftline_testing.runner.without redis -- tests/core -k lease

An extension is one folder: its code, its tests, and its part of the harness. Without the library
there is no extension either, and the tests are those of the node. By default each part is taken out
in turn, and all tests of the others run; `today` names another part each day. A slice runs the
lists and a few tests, and collects all, so that each import is tried.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from raftline.common.extensions import EXTENSIONS

from .tree_copy import copy_tree

KERNEL_TESTS = ("tests/core", "tests/rim", "tests/interleave", "tests/virtual", "tests/transcripts")
ALL_TESTS = ("tests", "library", "extensions")
LIBRARY = "library"
PARTS = (*EXTENSIONS, LIBRARY)
SLICE = ("-k", "lists or test_election or test_driver")


def folders_of(part: str) -> tuple[str, ...]:
    """Return the folders that go with a part."""
    return (LIBRARY, "extensions") if part == LIBRARY else (f"extensions/{part}",)


def part_of_day(days: int) -> str:
    """Return the part whose turn it is, so many days after a day on which the first one had it."""
    return PARTS[days % len(PARTS)]


def tests_without(part: str) -> tuple[str, ...]:
    """Return the folders of the tests that are left."""
    return (*KERNEL_TESTS, "tests/lists") if part == LIBRARY else ALL_TESTS


def copy_repository(to: Path) -> None:
    """Copy the tree, as a repository: rules about links ask git for the files."""
    copy_tree(to)
    for command in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", *command], cwd=to, check=True, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def taken_out(part: str, tree: Path) -> Iterator[None]:
    """Take a part out of a copy of the tree, for a while: what is compiled there stays."""
    with tempfile.TemporaryDirectory(dir=tree.parent) as aside:
        for folder in folders_of(part):
            shutil.move(tree / folder, Path(aside, Path(folder).name))
        try:
            yield
        finally:
            for folder in folders_of(part):
                shutil.move(Path(aside, Path(folder).name), tree / folder)


def run_tests(tree: Path, arguments: Sequence[str]) -> int:
    """Run tests of a tree, and return pytest's exit status."""
    packages = [tree / "deploy" / "editable"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, packages))}
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--lane", "quick"]
    return subprocess.run([*pytest, *arguments], cwd=tree, env=environment, check=False).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("part", nargs="?", choices=(*PARTS, "today"), help="default: each in turn")
    parser.add_argument("--slice", action="store_true", help="the lists, and a few tests")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest; default: all quick tests")
    asked = parser.parse_args(arguments)
    part = part_of_day(int(time.time() // 86400)) if asked.part == "today" else asked.part
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        copy_repository(tree)
        for name in [part] if part else PARTS:
            print(f"without {name}:", flush=True)
            with taken_out(name, tree):
                tests = ["-n", "2", *tests_without(name), *(SLICE if asked.slice else ())]
                if run_tests(tree, asked.pytest or tests):
                    failed.append(name)
    print(f"failed without: {', '.join(failed)}" if failed else "all passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
