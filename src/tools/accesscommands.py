"""The arguments of the commands that make secrets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raftline.common.arguments import Parser

    Commands = argparse._SubParsersAction[Parser]


def add_commands(commands: Commands) -> None:
    """Add them to the command line."""
    secret = commands.add_parser(
        "secret",
        help="make a secret for the members of a cluster",
        description="Write a new secret into FILE, which its owner alone can read, for "
        "`raftline server --secret FILE`. Copy it to the machine of each member. Exit code 0: "
        "done; 2: FILE is there already, or can't be written.",
    )
    secret.add_argument("file", type=Path, metavar="FILE", help="which must not be there yet")
    secret.set_defaults(module="access.secret", carry_out=_secret)


def _secret(options: argparse.Namespace) -> int:
    from raftline.access.secret import make_secret

    make_secret(options.file)
    return 0
