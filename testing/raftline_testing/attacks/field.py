"""Three nodes with users, a secret and only TLS, and their figures as seen from outside."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import ssl
import sys
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from raftline.access import authority
from raftline.access.secret import make_secret
from raftline.clients.connections.client_login import Credentials, log_in
from raftline.clients.connections.client_tls import ClientTls
from raftline.common.process.server_process import SERVER
from raftline.harness.added_users import add_users
from raftline.net.line_connection import LineConnection
from raftline.wire.commands.identity import EVERYWHERE
from raftline.wire.commands.rights import UserRole

from ..nodes.cluster import Cluster, NodeProcess
from ..nodes.known_users import first_admin
from ..nodes.processes import DEADLINE_S, eventually, free_ports

PASSWORD = "correct horse battery"
NAMES = {
    "root": (UserRole.ADMIN, EVERYWHERE),
    "ann": (UserRole.WRITER, ("ann/", "lock/ann/")),
    "mal": (UserRole.WRITER, ("mal/",)),
    "bob": (UserRole.READER, ("mal/", "ann/")),
}
VALUE = 1_000_000  # bytes of the long values that are attacked
HELD_S = 4.0  # how long a wave holds the connections that it has opened
PIECE_S = 2.0  # for one send to a node that reads nothing
SMALL = 4096  # bytes of a receive buffer
ITEMS = 330_000  # of a list in a value of that length
SAYS_MOST = re.compile(r"memory: its bounds add up to ([0-9]+) MiB besides the keys")


class Field(NamedTuple):
    """The addresses of the nodes, for users and attackers."""

    ports: tuple[int, ...]
    http_ports: tuple[int, ...]
    ca: str
    secret: str

    @property
    def at(self) -> str:
        return ",".join(f"localhost:{port}" for port in self.ports)

    @property
    def tls(self) -> ClientTls:
        return ClientTls(ca=self.ca)

    def raw(self, port: int) -> ssl.SSLSocket:
        """Return a stranger's connection: TLS, and no login."""
        context = ssl.create_default_context(cafile=self.ca)
        plain = socket.create_connection(("localhost", port), DEADLINE_S)
        return context.wrap_socket(plain, server_hostname="localhost")

    def logged_in(self, port: int, user: str) -> LineConnection:
        """Return the connection of a user."""
        connection = LineConnection(port, DEADLINE_S, tls=self.tls)
        log_in(connection, Credentials(user, PASSWORD), "c", DEADLINE_S)
        return connection


class Nodes(Cluster):
    """The nodes of a field, with the highest priority on this machine if the user may set it."""

    def __init__(self, folder: Path, *options: str) -> None:
        make_secret(folder / "secret")
        folder_of_certs = folder / "certs"
        authority.make(folder_of_certs, [f"s{number}=localhost" for number in (1, 2, 3)], [])
        common = [*first_admin(folder, PASSWORD), "--secret", folder / "secret"]
        common += ["--tls-only", "--tls-ca", folder_of_certs / "ca.pem"]
        (folder / "nodes").mkdir()
        super().__init__(folder / "nodes", 3, *map(str, common), "--pace", "class", *options)
        http_ports = []
        for node in self.nodes:
            http_ports.append(next(free_ports))
            node.options += ["--tls-cert", str(folder_of_certs / f"{node.name}.pem")]
            node.options += ["--tls-key", str(folder_of_certs / f"{node.name}.key")]
            node.options += ["--http", str(http_ports[-1])]
            node._console = folder / f"{node.name}.txt"
            if os.geteuid() == 0:
                node.program = ["nice", "-n", "-19", sys.executable, str(SERVER)]
        self.http_ports = tuple(http_ports)
        self.field = Field(
            tuple(node.port for node in self.nodes),
            self.http_ports,
            str(folder_of_certs / "ca.pem"),
            str(folder / "secret"),
        )

    def console(self, node: NodeProcess) -> str:
        return (self.folder.parent / f"{node.name}.txt").read_text()

    def begin(self) -> None:
        """Start all nodes, and wait until they know the users."""
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            eventually(partial(self._is_started, node), node.name)
        eventually(lambda: len(self.seen()) == 1, "one leader")
        add_users(self.field.at, NAMES, PASSWORD, tls=self.field.tls)

    def _is_started(self, node: NodeProcess) -> bool:
        return "Server started on" in self.console(node)

    def seen(self) -> set[tuple[int, str]]:
        """Return term and leader as each node reports them by HTTP, without a login."""
        views = [self.status_of(place) for place in range(len(self.nodes))]
        return {(view["term"], view["leader"]) for view in views}

    def status_of(self, place: int) -> dict[str, Any]:
        url = f"http://localhost:{self.http_ports[place]}/status"
        try:
            with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
                facts: dict[str, Any] = json.loads(answer.read())
                return facts
        except OSError as error:
            return {"term": f"no answer: {error}", "leader": None}

    def log_bytes(self) -> int:
        """Return the bytes of the longest log."""
        logs = [self.status_of(place).get("log_bytes", 0) for place in range(len(self.nodes))]
        return max(map(int, map(str, logs)))

    def said_most(self) -> int:
        """Return the maximum of bytes that the nodes announced at their start."""
        match = SAYS_MOST.search(self.console(self.nodes[0]))
        assert match is not None, "the nodes print no bound of their memory"
        return int(match[1]) << 20

    def memory(self) -> list[int]:
        """Return the resident bytes of each node."""
        return [_figure(node.pid, "VmRSS") for node in self.nodes]

    def peaks(self) -> list[int]:
        return [_figure(node.pid, "VmHWM") for node in self.nodes]

    def threads(self) -> list[int]:
        return [len(os.listdir(f"/proc/{node.pid}/task")) for node in self.nodes]


def _figure(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) << 10
    return 0


def fill(field: Field) -> None:
    """Write the keys that the attacks work on: 1 MB of letters, of emojis, and a list."""
    import raftline

    with raftline.connect(field.at, user="mal", password=PASSWORD, tls=field.tls, timeout=60) as kv:
        kv["mal/big"] = "x" * VALUE
        kv["mal/emoji"] = "\U0001f600" * (VALUE // 4)

    def is_set() -> bool:
        """Whether the key is set; False if the leadership moves meanwhile."""
        with contextlib.suppress(OSError), field.logged_in(leader_port(field), "mal") as connection:
            return "SET response" in connection.ask(f"c@set mal/o [{'1,' * (ITEMS - 1)}1]")
        return False

    eventually(is_set, "a long list")


def leader_port(field: Field) -> int:
    """Return the port of the leader, as a node reports it without a login."""
    with urllib.request.urlopen(
        f"http://localhost:{field.http_ports[0]}/status", timeout=DEADLINE_S
    ) as answer:
        name = json.loads(answer.read())["leader"] or ""
    if not name:
        raise OSError("no leader")
    return field.ports[int(name[1:]) - 1]
