"""The kernel alone, in a new folder: its code, its tests and its part of the harness.

    python -m raftline_testing.runner.kernel FOLDER

The first page says how many lines it is. `python src/server.py s1 10000` runs there, and
`python src/client.py 10000`, and `python -m pytest tests` with the packages of the tests.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from raftline.common.extensions import EXTENSIONS

from .sizes import code_lines
from .tree_copy import copy_tree
from .without import KERNEL_TESTS

LEFT_OUT = ("extensions", "bench", "integrations", ".github")
PAGE = "docs/develop/architecture.md#kernel-and-extensions"
README = """# The kernel of raftline

The folder `src/` is {lines:,} lines of code in {files} files.
Blank lines, comments and docstrings are not counted.
It is a store replicated by Raft; `library/` has its client for requests, watches and leases.
It lacks {names}, which are [extensions]({page}).

```sh
python src/server.py s1 10000    # a node; s2 10001 and s3 10002 in two other terminals
python src/client.py 10000       # a client
python -m pytest tests           # the kernel's tests, with the packages that they need
```

`docs/` and `course/` are those of the whole, so some pages describe an extension.
Begin with [start-here.md](docs/develop/start-here.md).
"""


def copy_kernel(to: Path) -> None:
    """Copy the tree to a new folder, without extensions."""
    copy_tree(to)
    other_tests = [
        path
        for path in (to / "tests").iterdir()
        if path.is_dir() and path.relative_to(to).as_posix() not in KERNEL_TESTS
    ]
    for folder in [*(to / name for name in LEFT_OUT), *other_tests]:
        shutil.rmtree(folder, ignore_errors=True)
    (to / "README.md").write_text(first_page(to), encoding="utf-8")


def first_page(tree: Path) -> str:
    """Return what a tree is, with its size."""
    sources = [path.read_text("utf-8") for path in (tree / "src").rglob("*.py")]
    lines = sum(map(code_lines, sources))
    *names, last = EXTENSIONS
    missing = f"{', '.join(names)} and {last}"
    return README.format(lines=lines, files=len(sources), names=missing, page=PAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="it must not exist yet")
    folder: Path = parser.parse_args(arguments).folder
    if folder.exists():
        parser.error(f"{folder} exists already")
    copy_kernel(folder)
    print((folder / "README.md").read_text("utf-8").splitlines()[2], file=sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
