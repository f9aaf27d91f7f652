"""The arguments of `raftline view`, which shows the steps of nodes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from raftline.clients.options import access_of
from raftline.common import config
from raftline.common.arguments import as_port, as_seconds

if TYPE_CHECKING:
    from raftline.common.arguments import Commands


def add_commands(commands: Commands) -> None:
    """Add them to the command line."""
    _add_view(commands)


def _add_view(commands: Commands) -> None:
    view = commands.add_parser(
        "view",
        help="a picture of the running cluster, in a browser on this machine",
        description="Serve a page that shows each step of each node, until Ctrl-C: messages as "
        "arrows, roles, terms, votes, logs, and why a node decided so. With --save, write such a "
        "page of the next seconds, to hand in.",
    )
    view.add_argument("--dir", metavar="D", help="the folder that names the nodes (./logs)")
    view.add_argument("--port", type=as_port, metavar="P", help="of the page (8765)")
    view.add_argument("--save", metavar="FILE.html", help="observe for a while, and write one page")
    view.add_argument(
        "--for",
        dest="seconds",
        type=as_seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long --save observes (10)",
    )
    view.set_defaults(module="view.command", carry_out=_view)


def _view(options: argparse.Namespace) -> int:
    from raftline.view import command

    access, configuration = access_of(options), config.load(options.dir)
    if options.save is not None:
        return command.save(configuration, access, Path(options.save), options.seconds)
    return command.view(configuration, access, options.port or command.DEFAULT_PORT)
