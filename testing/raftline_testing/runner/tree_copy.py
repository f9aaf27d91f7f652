"""A copy of the repository in its present state, for tests that change it."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MEMBERS = Path("logs", "server-configuration.txt")  # beside it, nodes keep their files
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "logs", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info"
)


def copy_tree(to: Path) -> None:
    """Copy the repository into a new folder, without build products and the files of nodes."""
    shutil.copytree(ROOT, to, symlinks=True, ignore=_LEFT_OUT)
    (to / MEMBERS).parent.mkdir()
    shutil.copy(ROOT / MEMBERS, to / MEMBERS)
