"""The options of a command that asks a cluster, and the client for them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from raftline.clients.connections.address_options import named_nodes, read_nodes
from raftline.clients.connections.connect_url import NamedNodes
from raftline.clients.terminal.options import access_of, add_login_options

if TYPE_CHECKING:
    from raftline.clients.requests.pool import Clients
    from raftline.common.arguments import Parser


Action = Callable[[argparse.Namespace], int]


def add_quiet(parser: Parser, action: Action | None = None) -> None:
    """Add `--quiet` to a command that prints no value, and let its action print nothing with it.
    Without an action here, the command looks itself."""
    parser.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        help="print only errors; the exit status says the rest",
    )
    if action is not None:
        parser.set_defaults(carry_out=_quieted(action))


def _quieted(action: Action) -> Action:
    """Return an action that prints nothing with `--quiet`, unless its output is JSON."""

    def act(options: argparse.Namespace) -> int:
        if not options.quiet or getattr(options, "json", False):
            return action(options)
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
            return action(options)

    return act


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
    from raftline.clients.requests.pool import Clients  # most commands do not need it

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
