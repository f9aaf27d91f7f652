"""The doors of a node, and that nobody waits at one any more once it is closed."""

from __future__ import annotations

import socket
import threading
from types import SimpleNamespace
from typing import Any, cast

from raftline.net.doors import Doors
from raftline.net.udpdoor import UdpDoor
from tests.e2e.wire import free_ports


class Watched:
    """A listening socket whose `accept` is slow to come back without a connection."""

    def __init__(self, listener: socket.socket) -> None:
        self.order: list[str] = []
        self._listener = listener
        self.shutdown = listener.shutdown

    def accept(self) -> Any:
        try:
            return self._listener.accept()
        except OSError:
            threading.Event().wait(0.1)
            self.order.append("nobody takes any more")
            raise

    def close(self) -> None:
        self.order.append("closed")
        self._listener.close()


def test_a_door_is_closed_once_nobody_takes_connections_from_it() -> None:
    """Else its thread would take them from whatever is opened next, under the same number."""
    doors = Doors("127.0.0.1", next(free_ports), 10)
    doors._socket = watched = cast(Any, Watched(doors._socket))
    doors.open(cast(Any, SimpleNamespace(name="s1")))
    doors.close()
    assert watched.order == ["nobody takes any more", "closed"]


def test_a_door_for_datagrams_that_was_closed_gives_its_port_and_its_thread_back() -> None:
    port, before = next(free_ports), {*threading.enumerate()}
    ignored: list[str] = []
    door = UdpDoor("127.0.0.1", port)
    door.open("s1", cast(Any, None), lambda: 1, lambda source, why: ignored.append(why))
    door.close()
    assert {*threading.enumerate()} <= before
    UdpDoor("127.0.0.1", port).close()
    assert ignored == []
