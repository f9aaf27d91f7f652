"""The seam of the kernel for those who watch a node: its pages over HTTP, and systemd."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from raftline.common.address import Address
from raftline.node.program.node_server import Server

from .endpoints import Pages
from .systemd import READY, STOPPING, begin_watchdog, notify, reloading

if TYPE_CHECKING:
    from .http_listener import MonitorListener


class Supervision:
    """The pages of one node, and its reports to systemd; `service.Supervisor` documents them."""

    def __init__(self) -> None:
        self._pages = Pages()
        self._door: MonitorListener | None = None

    def open_door(
        self, arguments: argparse.Namespace, listed: Address | None, say: Callable[[str], None]
    ) -> None:
        place = arguments.http
        if place is None:
            return
        from .http_listener import MonitorListener

        outer = [one.host for one in (arguments.advertise, listed) if one is not None]
        names = {arguments.host, socket.gethostname(), *outer}
        self._door = MonitorListener(place, self._pages, names=names)
        if place.is_open_to_network:
            warning = f"[!] --http {place}: anyone on the network can read this node's figures"
            say(warning)
        self._door.open(arguments.name, say)

    def began(self, server: Server) -> None:
        self._pages.serve(server)
        notify(READY)
        begin_watchdog(server)

    def reloads(self) -> None:
        notify(reloading())

    def reloaded(self) -> None:
        notify(READY)

    def stops(self) -> None:
        notify(STOPPING)

    def close(self) -> None:
        if self._door is not None:
            self._door.close()


def supervisor() -> Supervision:
    """Return what watches one node."""
    return Supervision()
