"""Users for tests, added to a running cluster."""

from __future__ import annotations

import contextlib
import functools

from raftline.clients.connections.client_access import ClientAccess
from raftline.clients.connections.client_login import Credentials, log_in
from raftline.clients.connections.client_tls import ClientTls
from raftline.clients.connections.node_connection import ClientError
from raftline.clients.requests.pool import Clients
from raftline.net.line_connection import LineConnection
from raftline_testing.nodes.known_users import ROOT, Known, commands_of
from raftline_testing.nodes.processes import DEADLINE_S, eventually


def add_users(
    at: str, users: Known, password: str, admin: str = ROOT, tls: ClientTls | None = None
) -> None:
    """Add users to a running cluster, as its first admin, and wait until each node knows them."""
    known = Credentials(admin, password)
    with Clients(*at.split(","), access=ClientAccess(known, tls), timeout=DEADLINE_S) as clients:

        def is_done(command: str) -> bool:
            try:
                reply = clients.request(command)
            except ClientError:  # before there is a leader, and the first admin
                return False
            return " response: " in reply or "exists" in reply

        commands = list(commands_of(users, password))
        for command in commands:
            eventually(functools.partial(is_done, command), command)
    last = Credentials(commands[-1].split(" ")[1], password)
    for address in at.split(","):
        eventually(functools.partial(_logs_in, address, last, tls), f"{last.user} at {address}")


def _logs_in(address: str, known: Credentials, tls: ClientTls | None) -> bool:
    port = int(address.rpartition(":")[2])
    with contextlib.suppress(ClientError), LineConnection(port, DEADLINE_S, tls=tls) as one:
        log_in(one, known, "c", DEADLINE_S)
        return True
    return False
