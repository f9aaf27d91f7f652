"""Marks tables as old: what they measure has changed since the commit at which it was measured.

A table names its commit in its last line. Each measures the kernel and the load generator, and some
an extension as well. A table without a commit, or of one that is not in this history, is old.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("access", "common", "net", "node", "raft", "state", "storage", "wire")
KERNEL = [
    *(f"src/{name}" for name in PACKAGES),
    "library/clients",
    "src/logmanager.py",
    "src/server.py",
]
GENERATOR = ["bench/*.c", "bench/*.h"]
BESIDE = {"recipes": "extensions/recipes", "door": "extensions/redis", "bench": "extensions/redis"}
TABLE = re.compile(r"(<!-- figures ([a-z-]+) -->\n)(.*?)(<!-- end of figures -->)", re.DOTALL)
COMMIT = re.compile(r"\bcommit ([0-9a-f]{7,40})\b")
MARK = re.compile(r"\n?\*\*Old\*\*: .*\n")


def commit() -> str:
    """Return the commit of the tree, with "+" if `src/` has other changes; "" without git."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + (
            "+" if _git("status", "--porcelain", "--", "src", "library", "extensions") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return ""


def has_history() -> bool:
    """Return whether the history is here, without which no age can be told."""
    try:
        return _git("rev-parse", "--is-shallow-repository") == "false"
    except (OSError, subprocess.CalledProcessError):
        return False


def with_ages(page: str) -> str:
    """Return a page whose old tables, and no others, have a mark."""

    def marked(match: re.Match[str]) -> str:
        text = MARK.sub("", match[3])
        measured = COMMIT.search(text)
        why = why_old(match[2], measured[1] if measured else "")
        mark = f"\n**Old**: {why}.\n" if why else ""
        blank = "\n" if text.endswith("\n\n") else ""
        return match[1] + text.removesuffix(blank) + mark + blank + match[4]

    return TABLE.sub(marked, page)


def why_old(name: str, measured: str) -> str:
    """Return why the table is old, or ""."""
    if not measured:
        return "the code has changed since, and this table names no commit"
    paths = [*KERNEL, *GENERATOR, *filter(None, [BESIDE.get(name)])]
    try:
        changed = _git("diff", "--name-only", measured, "HEAD", "--", *paths)
    except subprocess.CalledProcessError:
        return f"commit {measured} is not in this history"
    if not changed:
        return ""
    return f"what it measures has changed since commit {measured}"


def _git(*words: str) -> str:
    ran = subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True)
    return ran.stdout.strip()
