"""The argument parser of all commands: one-line errors, the name and the version."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .address import HOST, port_in
from .version import VERSION, of_install

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction["Parser"]

EXIT_USAGE = 2


def build() -> str:
    """Return "compiled" if the core runs as machine code, "pure" if it runs as Python."""
    core = importlib.util.find_spec("raftline.raft.state")
    return "pure" if core is None or str(core.origin).endswith(".py") else "compiled"


class Typed(argparse.Action):
    """An option for the command line only: no file or variable can set it
    (node/program/settings.py)."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, const=True, default=False, **options)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: object
    ) -> None:
        setattr(namespace, self.dest, True)


class _Version(Typed):
    """An option that prints the version. Only this looks up the build, not each start."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(f"raftline {of_install(VERSION)} ({build()})")
        parser.exit()


class Parser(argparse.ArgumentParser):
    """A parser that prints a mistake in the arguments in one line, with a hint, and exits with
    2."""

    def error(self, message: str) -> NoReturn:
        more = self.format_usage().strip() if self.usage else f"Try: {self.prog} --help"
        stop = "" if message.endswith("?") else "."
        self.exit(EXIT_USAGE, f"{self.prog}: error: {message}{stop} {more}\n")

    def add_version(self) -> None:
        """Add `--version`."""
        self.add_argument("--version", action=_Version, help="and the build")

    def add_cluster_options(self, timeout_s: float | None = None) -> None:
        """Add `--dir` and `--timeout`: the folder of the configuration, and the time limit."""
        seconds = "seconds" if timeout_s is None else f"seconds ({timeout_s:g})"
        self.add_argument("--dir", metavar="D", help="the folder of server-configuration.txt")
        self.add_argument(
            "--timeout", type=as_seconds, default=timeout_s, metavar="S", help=seconds
        )


def as_port(text: str) -> int:
    """Return a port from 1 to 65535. For argparse, like the next functions."""
    try:
        return port_in(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def as_number(what: str, low: int, high: int | None = None) -> Callable[[str], int]:
    """Return a parser for a whole number in plain digits, of at most 18 digits without `high`. Its
    error message names the number with `what`, for example "number of nodes"."""
    limits = f"{low} or more" if high is None else f"{low} to {high}"

    def read(text: str) -> int:
        is_number = text.isascii() and text.isdigit() and len(text) <= 18
        if not is_number or not low <= int(text) <= (int(text) if high is None else high):
            raise argparse.ArgumentTypeError(f"{text!r} is not a {what}, {limits}")
        return int(text)

    return read


def as_host(text: str) -> str:
    """Return the name or the address of a host."""
    if not HOST.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a host name or address")
    return text


def as_path(text: str) -> Path:
    """Return the path of a file or folder. An empty path, for example from an unset variable, is
    refused, since it would mean the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    return Path(text)


def as_seconds(text: str) -> float:
    """Return a time limit in seconds, above 0 and at most a day."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number <= 86400:  # nan fails this, too
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in seconds, such as 10 or 0.5")
    return number


def program(*names: str) -> str:
    """Return the name under which the program was started, or the last of `names` if it is not one
    of them."""
    typed = os.path.basename(sys.argv[0]) if sys.argv else ""
    return typed if typed in names else names[-1]


def typed() -> str:
    """Return the command to type for `raftline`, even if it is not installed."""
    path = sys.argv[0] if sys.argv else ""
    match os.path.basename(path):
        case "cli.py":
            return f"{_python()} {shlex.quote(path)}"
        case "__main__.py":
            return f"{_python()} -m raftline"
        case "raftline" if os.sep in path and shutil.which("raftline") is None:
            return shlex.quote(path)
    return "raftline"


def _python() -> str:
    name = os.path.basename(sys.executable)
    return name if shutil.which(name) == sys.executable else shlex.quote(sys.executable)
