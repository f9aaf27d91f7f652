"""The node of course/labs/conform/ in C, compiled."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = ROOT / "course" / "labs" / "conform"


def build(folder: Path, options: str, broken: tuple[str, str, str] | None = None) -> Path:
    """Compile the node in a copy of its folder; `broken` is a file, a text in it, and another."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: `cc` is not on this machine, so the C node can't be built")
    if shutil.which("make") is None:
        pytest.skip("no `make` on this machine, so the C node can't be built")
    for source in [*SOURCES.glob("*.[ch]"), SOURCES / "Makefile"]:
        shutil.copy(source, folder)
    if broken is not None:
        file, old, new = broken
        text = (folder / file).read_text("utf-8")
        assert text.count(old) == 1
        (folder / file).write_text(text.replace(old, new), "utf-8")
    made = subprocess.run(
        ["make", "-C", folder, f"SANITIZE={options}"], capture_output=True, text=True
    )
    if options and "cannot find -l" in made.stderr:
        pytest.skip("the compiler of this machine has no sanitizers")
    assert made.returncode == 0, made.stderr
    return folder / "node"
