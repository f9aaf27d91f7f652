"""A copy of the repository in its present state, for tests that change it."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ("src", "library", "extensions")  # the folders of the package `raftline`
MEMBERS = Path("logs", "server-configuration.txt")  # beside it, nodes keep their files
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "logs", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info"
)


def package_folders(root: Path = ROOT) -> list[tuple[str, Path]]:
    """Return the folders of the packages, with their path below a folder of packages."""
    return [
        ("raftline", root / "src"),
        ("raftline", root / "library"),
        *((f"raftline/{path.name}", path) for path in sorted((root / "extensions").glob("*/"))),
        ("raftline_testing", root / "testing" / "raftline_testing"),
    ]


def copy_sources(to: Path) -> Path:
    """Copy the sources of `raftline`, without tests, into a folder; return its `src`, from which
    Python finds all of them."""
    left_out = shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info", "tests", "bench")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=left_out)
    return to / "src"


def copy_tree(to: Path) -> None:
    """Copy the repository into a new folder, without build products and the files of nodes."""
    shutil.copytree(ROOT, to, symlinks=True, ignore=_LEFT_OUT)
    (to / MEMBERS).parent.mkdir()
    shutil.copy(ROOT / MEMBERS, to / MEMBERS)
