"""`HOST:PORT`, the form of addresses for people, programs, files and other nodes."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection
from typing import NamedTuple

# Parts of 1 to 63 characters: Python's resolver raises a UnicodeError for others. The lookaheads
# are bounded, so that long inputs do not take quadratic time.
HOST = re.compile(r"(?!\.|.{0,252}\.\.|.{0,252}[^.]{64})[A-Za-z0-9_.:%-]{1,253}")
PORT_MAX = 65535
PORT = re.compile(r"[1-9][0-9]{0,4}")
UNIX = "unix:"
EVERYWHERE = ("0.0.0.0", "::")  # addresses to listen on, which no client can dial


class Address(NamedTuple):
    """The address of a node."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Return the address in HOST:PORT. An IPv6 host may be in brackets.

        Raises:
            ValueError: the text is malformed; the message is for the user.
        """
        try:
            host, port = split(text)
            if HOST.fullmatch(host):
                return cls(host, port_in(port))
        except ValueError:
            pass
        raise ValueError(f"{text!r} is not an address: host:port, such as 127.0.0.1:8000")


def canonical_host(host: str) -> str:
    """Return the form that the notations of a host share: lower case, 127.0.0.1 for localhost."""
    host = host.lower()
    return "127.0.0.1" if host == "localhost" else host


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`: 127.0.0.0/8, ::1 or the name localhost. An IPv4
    address may have the mapped form of an IPv6 socket, and a zone may follow a %."""
    import ipaddress  # imported late, since most commands do not need it

    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.lower() == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def is_own_name(host: str, names: Collection[str]) -> bool:
    """Whether the value of an HTTP `Host` header, with or without a port, is an address, localhost
    or one of `names`. A stranger's DNS can't direct a browser from another site here under any of
    these."""
    import ipaddress  # as above

    if host.startswith("["):
        name = host[1:].partition("]")[0]
    else:
        name = host.partition(":")[0] if host.count(":") == 1 else host
    name = name.lower().removesuffix(".")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or (name != "" and name in {one.lower() for one in names})
    return True


def split(text: str) -> tuple[str, str]:
    """Return the host, without brackets, and the port of HOST:PORT; "" for a missing host.

    Nothing else is checked.
    """
    host, _, port = str(text).rpartition(":")
    inner = host.removeprefix("[").removesuffix("]")
    return inner if f"[{inner}]" == host and ":" in inner else host, port


def port_in(text: str) -> int:
    """Return a port in plain digits. Raises ValueError if it is not from 1 to 65535."""
    if not PORT.fullmatch(text) or int(text) > PORT_MAX:
        raise ValueError(f"{text!r} is not a port: 1 to {PORT_MAX}")
    return int(text)


class Endpoint(NamedTuple):
    """A host and a port, or the path of a socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_open_to_network(self) -> bool:
        """Whether other machines can reach the endpoint."""
        return not self.path and not is_loopback(self.host)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{UNIX}{self.path}" if self.path else f"{host}:{self.port}"


def as_endpoint(text: str) -> Endpoint:
    """Return the endpoint in `PORT`, `HOST:PORT` or `unix:PATH`. For argparse."""
    if text.startswith(UNIX) and len(text) > len(UNIX):
        return Endpoint(path=text.removeprefix(UNIX))
    host, port = split(text) if ":" in text else ("localhost", text)
    try:
        if HOST.fullmatch(host):
            return Endpoint(host, port_in(port))
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not PORT, HOST:PORT or unix:PATH")
