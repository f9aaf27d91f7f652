"""From whom a node takes a controller's orders: one name, spoken from places that were allowed."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

CONTROLLER = "Controller"
OFF = "this server obeys no controller; start it with --controller, for teaching and tests"


class Permits:
    """The right to control. There is no authentication: a program that reaches the port from an
    allowed place and calls itself Controller is obeyed."""

    def __init__(self, allowed: Sequence[str] | None) -> None:
        """Prepare; this machine is always allowed, `allowed` names further hosts and networks.
        None: nobody may control."""
        self.is_on = allowed is not None
        self._allowed = list(allowed or ())

    def why_not(self, sender: str, host: str) -> str | None:
        """Return why a line from `host`, an address, is not obeyed; None where it is."""
        if not self.is_on:
            return OFF
        if sender != CONTROLLER:
            return f"only {CONTROLLER} gives orders: {CONTROLLER}@STORE KEY VALUE"
        if not self._is_allowed(host):
            return f"orders from {host} are not taken; --controller-from {host} would allow them"
        return None

    def _is_allowed(self, host: str) -> bool:
        address = ipaddress.ip_address(host.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)  # as an IPv6 socket shows an IPv4 address
        address = mapped or address
        return address.is_loopback or any(_holds(place, address) for place in self._allowed)


def _holds(place: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether `place`, a network or the name of a host, holds an address. A name is looked up
    each time: a container that starts anew may have another address."""
    try:
        return address in ipaddress.ip_network(place, strict=False)
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(place, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return str(address) in {str(info[4][0]) for info in found}
