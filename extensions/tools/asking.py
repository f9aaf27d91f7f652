"""The actions of commands that ask a cluster, and the errors of their requests."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from raftline.clients.connections.address_options import named_nodes
from raftline.clients.connections.client_access import ClientAccess
from raftline.clients.connections.node_connection import ClientError
from raftline.clients.terminal.options import access_of
from raftline.clients.terminal.streams import report
from raftline.common.address import Address

from .asking_options import Action

Asking = Callable[[argparse.Namespace, Mapping[str, Address], ClientAccess], int]


def asking(action: Asking) -> Action:
    """Return an action of the options that asks the nodes that they name, and reports a failed
    request. Raises ConfigError if no node is named anywhere, or as `access_of` does."""

    def act(options: argparse.Namespace) -> int:
        nodes, access = named_nodes(options.at, options.dir), access_of(options)
        try:
            return action(options, nodes, access)
        except ClientError as problem:
            return report(explain(nodes, access, problem))

    return act


def explain(
    nodes: Mapping[str, Address], access: ClientAccess, failure: ClientError
) -> ClientError:
    """Add what a check of the nodes shows to an error; see `status_report.explained`."""
    from .status.status_report import explained  # only a failure needs it

    return explained(failure, nodes, access)
