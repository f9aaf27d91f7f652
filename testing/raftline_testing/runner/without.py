"""The kernel's quick tests in a copy of the tree that lacks an extension, or each in turn.

    python -m raftline_testing.runner.without
    python -m raftline_testing.runner.without redis
    python -m raftline_testing.runner.without redis -- tests/core -k lease

An extension is one folder: its code, its tests, and its part of the harness.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from raftline.common.extensions import EXTENSIONS

from .tree_copy import copy_tree

KERNEL_TESTS = ("tests/core", "tests/rim", "tests/interleave", "tests/virtual")


@contextlib.contextmanager
def taken_out(name: str, tree: Path) -> Iterator[None]:
    """Take an extension out of a copy of the tree, for a while: what is compiled there stays."""
    folder = tree / "extensions" / name
    with tempfile.TemporaryDirectory(dir=tree.parent) as aside:
        shutil.move(folder, aside)
        try:
            yield
        finally:
            shutil.move(Path(aside, name), folder)


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
    parser.add_argument("extension", nargs="?", choices=EXTENSIONS, help="default: each in turn")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest; default: all quick tests")
    asked = parser.parse_args(arguments)
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        copy_tree(tree)
        for name in [asked.extension] if asked.extension else EXTENSIONS:
            print(f"without {name}:", flush=True)
            with taken_out(name, tree):
                if run_tests(tree, asked.pytest or ["-n", "2", *KERNEL_TESTS]):
                    failed.append(name)
    print(f"failed without: {', '.join(failed)}" if failed else "all passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
