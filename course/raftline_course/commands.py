"""The commands that the course adds to `raftline`: their arguments, and the functions that carry
them out."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from raftline.common.arguments import Parser, build
from raftline.common.config import ConfigError, Configuration
from raftline_course.home import find_world

PROGRAMS = {
    "simulate": "simulate_command",
    "conform": "conform.conform_command",
    "grade": "grading.grade",
    "controller": "controller.controller_command",
    "picture": "picture_command",
    "learn": "learn",
}
UP_OPTIONS = {  # of `raftline up`
    "--controller": "the nodes obey `raftline controller`, for teaching and tests",
    "--controller-udp": "by datagrams as well, on a port (5555) of each node's own address",
    "--controller-lines": "the nodes print the lines of the course's controller lab",
}
UP_PORTS = {"--controller-udp": 5555}  # options of these that take a port, with the default
NODE = Path(__file__).with_name("node_program.py")
GRADER = Path(__file__).with_name("grading") / "grade.py"  # the handouts of labs 1 to 6 lack it
# They draw or judge steps of the core, which a core in machine code doesn't show.
FROM_SOURCE = ("grade", "picture")


def main(command: str, arguments: Sequence[str]) -> int:
    """Carry out one command and return its exit status.

    Raises:
        ConfigError: a handout leaves out the program of the command.
    """
    if command == "grade" and not GRADER.exists():
        raise ConfigError(
            "this copy of raftline has no grader; grade in a clone, or in the handout of lab 7 by "
            "`python3 course/labs/write-raft/grade.py FOLDER`"
        )
    if command in FROM_SOURCE and build() == "compiled":
        sys.stdout.flush()
        again = [sys.executable, "-m", "raftline", command, *arguments]
        os.execve(sys.executable, again, {**os.environ, "RAFTLINE_PURE": "1"})
    if command in ("grade", "learn"):
        find_world()
    module = importlib.import_module(f"raftline_course.{PROGRAMS[command]}")
    status: int = module.main(arguments)
    return status


def program_of(options: Sequence[str], configuration: Configuration) -> list[str] | None:
    """Return the program of nodes for these options of `raftline up`; None: without any of them,
    they are the store's nodes.

    Raises:
        ConfigError: the options do not go together, or not with these members.
    """
    if not any(option in UP_OPTIONS for option in options):
        return None
    _check_datagrams(configuration, options)
    return [sys.executable, str(NODE)]


def _check_datagrams(configuration: Configuration, options: Sequence[str]) -> None:
    """Make sure that every node can use the single port for a controller's datagrams."""
    if "--controller-udp" not in options:
        return
    if "--controller" not in options:
        raise ConfigError("--controller-udp is a door for orders; add --controller to obey them")
    hosts = [address.host for address in configuration.members.values()]
    shared = next((host for host in hosts if hosts.count(host) > 1), None)
    if shared is not None:
        raise ConfigError(
            f"--controller-udp takes one port of each node's own address, and several nodes of "
            f"{configuration.path} are on {shared}; give each its own there (127.0.0.2, 127.0.0.3, "
            "…), or leave the option out"
        )


def parsers() -> dict[str, Parser]:
    """Return the argument parser of each command, for completion."""
    results = {}
    find_world()
    for command, module in PROGRAMS.items():
        if command == "grade" and not GRADER.exists():
            continue
        parser = getattr(importlib.import_module(f"raftline_course.{module}"), "parser", None)
        if parser is not None:
            results[command] = parser()
    return results
