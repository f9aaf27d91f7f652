"""raftline and etcd under measurement with a protection: a secret, users, or TLS everywhere."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
from pathlib import Path

from clusters import Cluster
from etcd_nodes import Etcd
from generator import BenchError
from raftline.net.line_connection import ask
from raftline_nodes import Raftline
from raftline_wheel import RaftlineWheel

CLI = Path(__file__).resolve().parents[1] / "src" / "cli.py"
USER, PASSWORD = "bench", "of-this-measurement-alone"
HOSTS = "localhost,127.0.0.1"
METRICS = 30  # from a member's client port to its metrics port, which is plain
ASK_S = 5.0


class Protected(Raftline):
    """Nodes with one of `secret`, `users`, `TLS`; `plain`: without any."""

    def __init__(self, parent: Path, base_port: int, how: str) -> None:
        super().__init__(parent, base_port)
        self.how = how
        self._know_user = set[int]()  # nodes on which the user has logged in
        with _closing_on_failure(self):
            self._prepare()

    def _prepare(self) -> None:
        if self.how == "secret":
            secret = str(self.folder / "secret")
            _raftline("secret", secret)
            self.options += ["--secret", secret]
        if self.how == "users":
            first, login = self.folder / "first-admin", self.folder / "login"
            _raftline("user", "first", USER, str(first), said=f"{PASSWORD}\n")
            login.write_text(f"bench@login {USER} {PASSWORD}\n")
            # A reader, for `status`; without a secret, whose cost is measured separately.
            self.options += ["--first-admin", str(first), "--anonymous", "reader", "--insecure"]
            self.spoken = ("-l", str(login))
        if self.how == "TLS":
            make_certificates(self.folder / "certs", [f"s{n + 1}" for n in range(self.count)])
            self.spoken = ("-T",)

    def arguments(self, number: int) -> list[str]:
        arguments = super().arguments(number)
        if self.how != "TLS":
            return arguments
        of_node = self.folder / "certs" / f"s{number + 1}"
        ca = str(self.folder / "certs" / "ca.pem")
        return [*arguments, "--tls-only", "--tls-cert", f"{of_node}.pem", "--tls-key",
                f"{of_node}.key", "--tls-ca", ca]  # fmt: skip

    def status(self, number: int) -> dict[str, object]:
        """Return a node's status; {} while it doesn't answer, or doesn't know the user."""
        if self.how != "TLS":
            return super().status(number) if self._is_known_by(number) else {}
        context = ssl.create_default_context(cafile=self.folder / "certs" / "ca.pem")
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port(number)), ASK_S) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as connection,
                connection.makefile("rw") as file,
            ):
                file.write("status\n")
                file.flush()
                facts: dict[str, object] = json.loads(file.readline().partition(": ")[2])
        except (OSError, ValueError):
            return {}
        return facts

    def _is_known_by(self, number: int) -> bool:
        if self.how != "users" or number in self._know_user:
            return True
        try:
            line = ask(self.port(number), f"login {USER} {PASSWORD}", ASK_S)
        except OSError:
            return False
        if "LOGIN response" in line:
            self._know_user.add(number)
        return number in self._know_user


class ProtectedWheel(Protected, RaftlineWheel):
    """The same for the compiled wheel."""


class TlsEtcd(Etcd):
    """Members that speak TLS to clients, and prove themselves to each other by certificates."""

    spoken = ("-T",)
    scheme = "https"

    def __init__(self, parent: Path, base_port: int) -> None:
        super().__init__(parent, base_port)
        with _closing_on_failure(self):
            make_certificates(self.folder / "certs", [f"n{n}" for n in range(self.count)])

    def command(self, number: int) -> list[str]:
        of_member, ca = self.folder / "certs" / f"n{number}", self.folder / "certs" / "ca.pem"
        cert, key = f"{of_member}.pem", f"{of_member}.key"
        return [
            *super().command(number),
            *("--cert-file", cert, "--key-file", key),
            *("--peer-cert-file", cert, "--peer-key-file", key, "--peer-client-cert-auth"),
            *("--peer-trusted-ca-file", str(ca)),
            *("--listen-metrics-urls", self.metrics_url(number)),
        ]

    def metrics_url(self, number: int) -> str:
        return f"http://127.0.0.1:{self.port(number) + METRICS}"


class _closing_on_failure:
    """Remove a cluster's folder if its files could not be created."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._cluster.close()


def make_certificates(folder: Path, names: list[str]) -> None:
    """Make a CA, and a certificate for each name on this machine."""
    nodes = [word for name in names for word in ("--node", f"{name}={HOSTS}")]
    _raftline("certs", str(folder), *nodes)


def _raftline(*words: str, said: str = "") -> None:
    process = subprocess.run(
        [sys.executable, str(CLI), *words], input=said, capture_output=True, text=True, check=False
    )
    if process.returncode:
        why = (process.stderr or process.stdout).strip().splitlines()
        raise BenchError(f"raftline {words[0]}: {why[-1] if why else process.returncode}")
