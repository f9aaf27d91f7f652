"""Whether the others look for this node where it listens: the port and the host."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable, Mapping

from raftline.common.address import Address
from raftline.common.config import Configuration
from raftline.common.signals import threads_without_signals

EVERYWHERE = ("0.0.0.0", "::")  # where one listens, not where one is reached
_ADVICE = "right behind a proxy, else nobody will find it"


class Reachability:
    """Compares where others look for a node with where it listens."""

    def __init__(
        self, name: str, listens: Address, configuration: Configuration, members: Mapping[str, str]
    ) -> None:
        """Prepare; `listens` is what the node was told, `members` are those of its log, name to
        host:port."""
        self._name = name
        self._listens = listens
        self._sought = configuration.members.get(name)
        self._source = str(configuration.path)
        if self._sought is None and name in members:
            self._sought, self._source = Address.parse(members[name]), "the log"

    def tell(self, bound: str, say: Callable[[str], None]) -> None:
        """Say what keeps others from finding this node; `bound` is the IP address that it has.

        A host name is looked up in a thread of its own: a name server may take its time.
        """
        sought = self._sought
        if sought is None:
            return
        if sought.port != self._listens.port:
            say(self._line(f"on port {sought.port}", str(self._listens.port)))
        if _is_plain(sought.host, self._listens.host, bound):
            return
        if _needs_no_lookup(sought.host):
            self._tell_host(sought, bound, say)
            return
        with threads_without_signals():
            threading.Thread(
                target=self._tell_host, args=(sought, bound, say),
                name=f"{self._name} looks up itself", daemon=True,
            ).start()  # fmt: skip

    def _tell_host(self, sought: Address, bound: str, say: Callable[[str], None]) -> None:
        found = _addresses_of(sought.host)
        if bound in found:
            return
        if not found and not _is_loopback(bound):
            return  # a name that is known elsewhere, such as a load balancer's
        opened = "" if found and all(map(_is_loopback, found)) else " --open-to-network"
        advice = f"start it with --host {sought.host}{opened}"
        if not any(map(_is_here, found)):
            advice = (
                f"{sought.host} is no address of this machine: correct it there, or start the node "
                "with --host 0.0.0.0 --open-to-network"
            )
        say(f"{self._line(f'at {sought}', self._listens.host)}. Without a proxy, {advice}")

    def _line(self, sought: str, listens: str) -> str:
        return (
            f"[!] {self._source} says that others reach {self._name} {sought}, and it listens on "
            f"{listens}: {_ADVICE}"
        )


def _is_plain(sought: str, told: str, bound: str) -> bool:
    """Whether no look-up is needed to see that the hosts agree."""
    return (
        sought.lower() == told.lower()
        or sought in EVERYWHERE  # no place to look for anybody; it means this machine
        or ipaddress.ip_address(bound.partition("%")[0]).is_unspecified
    )


def _needs_no_lookup(host: str) -> bool:
    return host.lower() == "localhost" or _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _addresses_of(host: str) -> set[str]:
    """Return the IP addresses of a host; none where its name is not known here."""
    with contextlib.suppress(OSError, UnicodeError):
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return {str(info[4][0]) for info in found}
    return set()


def _is_here(address: str) -> bool:
    """Whether this machine has the address: then a socket can be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((address, 0))
        return True
    return False
