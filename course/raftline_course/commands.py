"""The commands that the course adds to `raftline`: their arguments, and what carries them out."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from raftline.common.arguments import Parser, build
from raftline_course.home import find_world

PROGRAMS = {
    "simulate": "simulator",
    "conform": "conform.command",
    "grade": "grading.grade",
    "picture": "picture",
}
# They draw or judge steps of the core, which only a core that is no machine code shows.
FROM_SOURCE = ("grade", "picture")


def main(command: str, arguments: Sequence[str]) -> int:
    """Carry out one command and return its exit status."""
    if command in FROM_SOURCE and build() == "compiled":
        sys.stdout.flush()
        again = [sys.executable, "-m", "raftline", command, *arguments]
        os.execve(sys.executable, again, {**os.environ, "RAFTLINE_PURE": "1"})
    if command == "grade":
        find_world()
    module = importlib.import_module(f"raftline_course.{PROGRAMS[command]}")
    status: int = module.main(arguments)
    return status


def parsers() -> dict[str, Parser]:
    """Return what reads the arguments of each command, for completion."""
    found = {}
    find_world()
    for command, module in PROGRAMS.items():
        parser = getattr(importlib.import_module(f"raftline_course.{module}"), "parser", None)
        if parser is not None:
            found[command] = parser()
    return found
