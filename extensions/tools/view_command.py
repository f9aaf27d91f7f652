"""`raftline view`: the steps of nodes, as a page in a browser."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from raftline.clients.connections.address_options import named_nodes
from raftline.clients.terminal.options import access_of
from raftline.common.arguments import as_port, as_seconds
from raftline.common.config import ConfigError
from raftline.picture.view import viewer

from .asking_options import add_asking_options
from .status.status import by_name

SAVED_S = 10.0

if TYPE_CHECKING:
    from raftline.common.arguments import Commands


def add_commands(commands: Commands) -> None:
    """Add the command to the command line."""
    view = commands.add_parser(
        "view",
        help="a picture of the running cluster, in a browser on this machine",
        description="Serve a page that shows each step of each node, until Ctrl-C: messages as "
        "arrows, roles, terms, votes, logs, and why a node decided so. With --save, write such a "
        "page of the next seconds, to hand in.",
    )
    view.add_argument("--port", type=as_port, metavar="P", help="of the page (8765)")
    view.add_argument("--save", metavar="FILE.html", help="observe for a while, and write one page")
    view.add_argument(
        "--for",
        dest="seconds",
        type=as_seconds,
        metavar="SECONDS",
        help="how long --save observes (10)",
    )
    add_asking_options(view, 2.0)
    view.set_defaults(carry_out=_view)


def _view(options: argparse.Namespace) -> int:
    if options.seconds is not None and options.save is None:
        raise ConfigError("--for is how long --save observes; add --save FILE.html")
    access = access_of(options)
    nodes = by_name(named_nodes(options.at, options.dir), access, options.timeout)
    if options.save is not None:
        return viewer.save(nodes, access, Path(options.save), options.seconds or SAVED_S)
    return viewer.view(nodes, access, options.port or viewer.DEFAULT_PORT)
