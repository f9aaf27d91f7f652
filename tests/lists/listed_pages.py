"""The files and pages of the repository, for all rules."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HISTORY = "CHANGELOG.md"  # names files of earlier releases, too


@cache
def tracked() -> frozenset[str]:
    """Return the files of the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0 or "README.md" not in listed.stdout.split("\n"):
        pytest.skip("this copy of the files is not a git repository")
    return frozenset(name for name in listed.stdout.split("\n") if (ROOT / name).is_file())


def pages() -> list[str]:
    return sorted(name for name in tracked() if name.endswith(".md"))


@cache
def text_of(name: str) -> str:
    return (ROOT / name).read_bytes().decode("utf-8", "replace")
