"""Detaches a forked child from the sockets, files and locks of its parent's nodes.

A child has none of a node's threads, but all of its descriptors. If they stayed open there, the
port and the lock would stay in use after the parent's death, and peers would not notice that death.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from raftline.common.address import Address

_GUARDS: set[ForkGuard] = set()


@dataclass(frozen=True)
class ForkGuard:
    """The descriptors of a running node, which a child process must not keep."""

    folder: Path
    name: str
    port: int
    peers: tuple[Address, ...]

    def register(self) -> None:
        """Make every child detach from now on, while the node runs."""
        _GUARDS.add(self)

    def end(self) -> None:
        """Stop guarding, since the node has stopped."""
        _GUARDS.discard(self)

    def detach(self) -> None:
        """Point this process's descriptors of the node at the null device.

        They are not closed: inherited objects hold their numbers, and may close them later, when a
        number may belong to another file.
        """
        files = set()
        for path in self.folder.glob(f"{self.name}.*"):
            with contextlib.suppress(OSError):
                files.add(_identity(path.stat()))
        null = os.open(os.devnull, os.O_RDWR)
        for entry in os.listdir("/dev/fd"):
            with contextlib.suppress(OSError):  # the descriptor of the listing is gone
                facts = os.fstat(int(entry))
                if _identity(facts) in files or (
                    stat.S_ISSOCK(facts.st_mode) and self._is_mine(int(entry))
                ):
                    os.dup2(null, int(entry), inheritable=False)
        os.close(null)

    def _is_mine(self, descriptor: int) -> bool:
        """Return whether this socket listens on the port, was accepted there, or is connected to a
        peer."""
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            if sock.family not in (socket.AF_INET, socket.AF_INET6):
                return False
            if sock.getsockname()[1] == self.port:
                return True
            host, port, *_ = sock.getpeername()
        return any(port == peer.port and _may_be(host, peer.host) for peer in self.peers)


def _forked() -> None:
    for guard in _GUARDS:
        guard.detach()
    _GUARDS.clear()


os.register_at_fork(after_in_child=_forked)


def _identity(facts: os.stat_result) -> tuple[int, int]:
    return facts.st_dev, facts.st_ino


def _may_be(host: str, configured: str) -> bool:
    try:
        return ipaddress.ip_address(configured) == ipaddress.ip_address(host)
    except ValueError:
        return True  # a host name: a new child must not make a DNS request
