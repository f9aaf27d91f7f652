"""How a client proves itself and the nodes to each other: its login and its TLS.

A sender of requests holds one `ClientAccess`, and knows of neither.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

from raftline.common.address import Address
from raftline.net.dialing import NOBODY

from . import client_login, client_tls
from .client_login import Credentials, exchange, log_in
from .client_tls import ClientTls
from .node_connection import NodeConnection


class ClientAccess(NamedTuple):
    """The login and the TLS of a client; None means no login and plain text."""

    credentials: Credentials | None = None
    tls: ClientTls | None = None

    @classmethod
    def of_environment(cls) -> ClientAccess:
        """Return the access that the environment names. Raises ConfigError if the TLS files can't
        be used."""
        return cls(client_login.of_environment(), client_tls.of_environment())

    def dial(
        self,
        address: Address,
        limit_s: float,
        sender: str = "",
        others: Iterator[Address] = NOBODY,
        cluster: str = "",
    ) -> NodeConnection:
        """Return a connection without a login; see `NodeConnection`. Raises OSError."""
        return NodeConnection(address, limit_s, self.tls, sender, others, cluster)

    def log_in(self, connection: NodeConnection, sender: str, limit_s: float) -> None:
        """Log in, if there is a user, on a connection that has not carried a request yet. Raises
        LoginFailed, Unreachable, OSError; see `client_login.log_in`."""
        if self.credentials is not None:
            log_in(connection, self.credentials, sender, limit_s)

    def login_steps(self) -> Generator[str, str, None] | None:
        """Return the steps of the login for a task, None without a user; see
        `client_login.exchange`."""
        return None if self.credentials is None else exchange(self.credentials)

    def stream_options(self, host: str) -> dict[str, Any]:
        """Return the arguments of asyncio's `create_connection` to a host; reload changed files."""
        if self.tls is None:
            return {}
        return {"ssl": self.tls.context(), "server_hostname": self.tls.name_of(host)}


OPEN_ACCESS = ClientAccess()
