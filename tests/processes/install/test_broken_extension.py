"""An extension that can't be loaded, or is there twice: one line that says what to do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from raftline_testing.runner.tree_copy import copy_sources

EXIT_BROKEN = 70


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the sources."""
    return copy_sources(tmp_path)


def line_of(source: Path, *words: str) -> str:
    """Return the only line of a program that ends at its start."""
    program, *arguments = words
    run = subprocess.run(
        [sys.executable, str(source / program), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (EXIT_BROKEN, "", 1), run.stderr
    return run.stderr


@pytest.mark.parametrize(
    ("text", "why"),
    [("import no_such_package\n", "No module named 'no_such_package'"), ("def\n", "SyntaxError")],
)
def test_extension_that_fails_to_load_ends_the_start(source: Path, text: str, why: str) -> None:
    objects = source.parent / "extensions" / "objects"
    (objects / "command_rows.py").write_text(text, encoding="utf-8")
    for words in (("server.py", "s1", "10000"), ("cli.py", "status")):
        line = line_of(source, *words)
        assert line.startswith("[!] the extension objects can't be loaded (")
        assert why in line
        assert f"install it again, or remove {objects} if no entry needs it" in line


def test_extension_in_two_folders_ends_the_start(source: Path) -> None:
    shutil.copytree(source.parent / "extensions" / "objects", source / "objects")
    line = line_of(source, "server.py", "s1", "10000")
    assert line.startswith("[!] the extension objects is there twice, in ")
    assert line.endswith("may be of two builds: remove one folder\n")
