"""raftline from the compiled wheel under measurement: the same nodes, run by the Python of an
environment in which the wheel is installed."""

from __future__ import annotations

import os
import re
import subprocess

import pythons
from generator import BUILD
from raftline_nodes import Raftline

ENVIRONMENT = BUILD / "wheel-env"
PROGRAM = ENVIRONMENT / "bin" / "python"
SOURCES = [BUILD.parent / name for name in ("src", "library", "extensions")]
INSTALL = (
    "build/wheel-env has no raftline compiled from these sources: "
    "`RAFTLINE_OPTIMIZE=3 make build/wheel-env PYTHON=$(python bench/pythons.py)` builds it"
)


class RaftlineWheel(Raftline):
    """Nodes s1, s2, … on localhost, with the compiled core."""

    name = "raftline-wheel"

    def command(self, number: int) -> list[str]:
        program = [str(PROGRAM), "-m", "raftline", "server"]
        return [*program, *self.arguments(number)]

    def environment(self) -> dict[str, str]:
        return own_environment()


def version() -> str | None:
    """Return the wheel's version; None if none is installed, or only a pure or outdated one."""
    if not (ENVIRONMENT / "bin" / "raftline").exists() or _is_outdated():
        return None
    output = subprocess.run(
        [str(PROGRAM), "-m", "raftline", "--version"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ENVIRONMENT,
        env=own_environment(),
    ).stdout
    match = re.search(r"(\S+) \(compiled\)", output)
    return f"{match[1]} on Python {pythons.described(str(PROGRAM))}" if match else None


def own_environment() -> dict[str, str]:
    """Return the environment without PYTHONPATH, which may lead to the modules of a clone."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _is_outdated() -> bool:
    """Whether the source has changed since the environment was made."""
    made_at = ENVIRONMENT.stat().st_mtime
    return any(
        path.stat().st_mtime > made_at for folder in SOURCES for path in folder.rglob("*.py")
    )
