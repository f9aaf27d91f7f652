"""The place of a door beside a node's own port: a TCP port, or a socket in the file system."""

from __future__ import annotations

import argparse
from typing import NamedTuple

from raftline.common.address import HOST, is_loopback, port_in, split

UNIX = "unix:"


class Place(NamedTuple):
    """A host and a port, or the path of a socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_open_to_network(self) -> bool:
        """Whether other machines can reach it."""
        return not self.path and not is_loopback(self.host)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{UNIX}{self.path}" if self.path else f"{host}:{self.port}"


def as_place(text: str) -> Place:
    """Return what `PORT`, `HOST:PORT` or `unix:PATH` names. For argparse."""
    if text.startswith(UNIX) and len(text) > len(UNIX):
        return Place(path=text.removeprefix(UNIX))
    host, port = split(text) if ":" in text else ("localhost", text)
    try:
        if HOST.fullmatch(host):
            return Place(host, port_in(port))
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no PORT, HOST:PORT or unix:PATH")
