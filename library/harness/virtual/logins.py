"""The login of the client library, for the guests of a schedule (virtual/clients/guests.py)."""

from __future__ import annotations

from collections.abc import Generator

from raftline.clients.connections.client_login import Credentials, exchange
from raftline.clients.connections.node_connection import LoginFailed, Unreachable
from raftline_testing.virtual.nodes.users_at_node import NotLoggedIn


def log_in(name: str, password: str, nonce: str) -> Generator[str, str, None]:
    """Yield each command of a login by SCRAM, and receive its reply."""
    try:
        yield from exchange(Credentials(name, password), lambda: nonce)
    except (LoginFailed, Unreachable) as failure:  # the latter: the node knows no users yet
        raise NotLoggedIn from failure
