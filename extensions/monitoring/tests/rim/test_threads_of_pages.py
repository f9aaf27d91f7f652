"""A thread of --http that meets an error says so, and shuts the door."""

from __future__ import annotations

import contextlib
import socket

import pytest

from raftline.common.address import Endpoint
from raftline.monitoring.endpoints import Pages
from raftline.monitoring.http_listener import MonitorListener
from raftline_testing.nodes.processes import DEADLINE_S, eventually, free_ports


def test_an_http_door_that_breaks_is_shut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    place = Endpoint("127.0.0.1", next(free_ports))
    door = MonitorListener(place, Pages())

    def fail(*_: object) -> None:
        raise KeyError("it is registered already")

    monkeypatch.setattr(door, "_attend", fail)
    door.open("s1", said.append)
    with contextlib.suppress(ConnectionResetError):  # it may be shut amid this
        socket.create_connection((place.host, place.port), timeout=DEADLINE_S).close()
    eventually(lambda: said)
    with pytest.raises(ConnectionError):
        socket.create_connection((place.host, place.port), timeout=DEADLINE_S)
    door.close()
    why = "KeyError('it is registered already')"
    assert said == [f"[!] s1: a thread of --http ended, and needs a restart: {why}"]
