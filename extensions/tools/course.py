"""Load raftline-course, a separate distribution that teaches and grades with raftline.

Its package is either installed, or next to `src/` in a clone. It is imported only for one of its
commands, for `up` and for completion.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from raftline.common.arguments import Parser
from raftline.common.config import ConfigError, Configuration

COMMANDS = {
    "simulate": "a cluster under load and faults, and a report: raftline simulate METRICS",
    "conform": "grade a node of any language: raftline conform -- COMMAND {name} {port} {dir}",
    "grade": "hand-ins of the lab write Raft: raftline grade FOLDER",
    "controller": "an order to a node that obeys a controller",
    "picture": "the picture of recordings or of a transcript, as one page",
    "learn": "the pages that teach Raft, with a cluster in the browser",
}
PACKAGE = "raftline_course"
_CLONE = Path(__file__).resolve().parents[2]  # in a clone, src/raftline leads to src/


def found() -> ModuleType | None:
    """Return the module of the course's commands, or None if the course is missing."""
    if importlib.util.find_spec(PACKAGE) is None:
        if not (_CLONE / "course" / PACKAGE).is_dir():
            return None
        sys.path += [str(_CLONE / "course"), str(_CLONE / "testing")]
    return importlib.import_module(f"{PACKAGE}.commands")


def main(command: str, arguments: list[str]) -> int:
    """Run one of the course's commands and return its exit status.

    Raises:
        ConfigError: the course is missing.
    """
    commands = found()
    if commands is None:
        raise ConfigError(
            f"{command} is a command of the course, "
            "whose wheel `make -C course wheel` builds in a clone"
        )
    status: int = commands.main(command, arguments)
    return status


def up_options() -> dict[str, str]:
    """Return the options of `raftline up` that the course adds, with their help."""
    return dict(getattr(found(), "UP_OPTIONS", {}))


def up_ports() -> dict[str, int]:
    """Return the options that take a port, each with its default port."""
    return dict(getattr(found(), "UP_PORTS", {}))


def program_of(options: Sequence[str], configuration: Configuration) -> list[str] | None:
    """Return the program for nodes with these options, or None for the store's program.

    Raises:
        ConfigError: the options do not fit together, or do not fit these members.
    """
    commands = found()
    return None if commands is None else commands.program_of(options, configuration)


def node() -> Path:
    """Return the program of a node that obeys a controller.

    Raises:
        ConfigError: the course is not here.
    """
    commands = found()
    if commands is None:
        raise ConfigError("a node that obeys a controller is the course's")
    return Path(commands.NODE)


def parsers() -> dict[str, Parser]:
    """Return the parsers of the course's commands; none if the course is missing."""
    commands = found()
    return {} if commands is None else dict(commands.parsers())
