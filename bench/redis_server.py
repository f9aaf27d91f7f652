"""Redis under measurement, alone and with `appendfsync always`: the performance of one server
without replicas on this machine."""

from __future__ import annotations

import importlib.util
import re
import shutil
import socket
import subprocess

from clusters import Cluster

INSTALL = "Redis is not installed: `apt-get install redis-server`"
INSTALL_CLIENT = "redis-py is not installed: `pip install redis`"


class Redis(Cluster):
    """One server that syncs each round of writes."""

    name = "redis"
    protocol = "resp"

    def command(self, number: int) -> list[str]:
        place = ["--port", str(self.port(number)), "--dir", str(self.folder)]
        durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        return ["redis-server", *place, *durable]

    def leader(self) -> int | None:
        try:
            with socket.create_connection(("127.0.0.1", self.port(0)), timeout=5) as connection:
                connection.sendall(b"PING\r\n")
                return 0 if connection.recv(64).startswith(b"+PONG") else None
        except OSError:
            return None

    def fdatasyncs(self) -> int | None:
        return None


def benchmark() -> str | None:
    """Return the path of redis-benchmark, or None if it or Redis isn't installed."""
    return shutil.which("redis-benchmark") if version() is not None else None


def client() -> str | None:
    """Return the path of redis-py, or None if it or Redis isn't installed."""
    package = importlib.util.find_spec("redis") if version() is not None else None
    return package.origin if package is not None else None


def version() -> str | None:
    """Return Redis's version, or None if it isn't installed."""
    if shutil.which("redis-server") is None:
        return None
    command = ["redis-server", "--version"]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    match = re.search(r"v=(\S+)", output)
    return match[1] if match else "unknown"
