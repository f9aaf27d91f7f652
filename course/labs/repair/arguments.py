"""The arguments of the lab's programs: the nodes, and the chosen one."""

from __future__ import annotations

import argparse
from pathlib import Path

from raftline.common import config
from raftline.common.address import Address

FILE = Path(__file__).resolve().parent / "run" / config.FILE_NAME


def parser_of(description: str, epilog: str = "") -> argparse.ArgumentParser:
    """Return a parser that knows `--config FILE`."""
    parser = argparse.ArgumentParser(description=description, epilog=epilog)
    parser.add_argument("--config", type=Path, default=FILE, help="who the nodes are")
    return parser


def members_of(
    parser: argparse.ArgumentParser, file: Path, name: str | None = None
) -> dict[str, Address]:
    """Return the members that the file names. End the program with one line if it is unusable or
    does not name the node."""
    try:
        members = dict(config.read(file).members)
    except config.ConfigError as problem:
        parser.exit(2, f"{parser.prog}: {problem}\n")
    if name is not None and name not in members:
        parser.exit(2, f"{parser.prog}: {file} names no {name}; it names {', '.join(members)}\n")
    return members
