"""The options of a command that asks a cluster, and the client for them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..clients.connections.address_options import named_nodes, read_nodes
from ..clients.connections.connect_url import NamedNodes
from ..clients.terminal.options import access_of, add_login_options

if TYPE_CHECKING:
    from ..clients.requests.pool import Clients
    from ..common.arguments import Parser


def add_asking_options(parser: Parser, timeout_s: float | None = None) -> None:
    """Add all options: `--at`, `--dir` and `--timeout`, then the options for the login and TLS."""
    parser.add_argument(
        "--at",
        type=_nodes,
        metavar="HOST:PORT[,…]",
        help="nodes to ask, or a URL ($RAFTLINE); one is enough, as it names the others",
    )
    parser.add_cluster_options(timeout_s)
    add_login_options(parser)


def clients_of(options: argparse.Namespace) -> Clients:
    """Return the client for the options of a command. Raises ConfigError as `access_of` does, or if
    no node is named anywhere."""
    from ..clients.requests.pool import Clients  # most commands do not need it

    access = access_of(options)
    return Clients(
        *map(str, named_nodes(options.at, options.dir).values()),
        name="raftline",
        timeout=options.timeout,
        access=access,
    )


def _nodes(text: str) -> NamedNodes:
    try:
        return read_nodes(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None
