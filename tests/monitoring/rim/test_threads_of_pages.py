"""A thread of --http or of a reload that meets an error says so, and costs no other."""

from __future__ import annotations

import contextlib
import socket

import pytest

from raftline.common.address import Endpoint
from raftline.monitoring.endpoints import Pages
from raftline.monitoring.http_listener import MonitorListener
from raftline.monitoring.service import Reload
from raftline_testing.nodes.processes import DEADLINE_S, eventually, free_ports


def test_a_reload_that_meets_any_error_is_no_end_of_reloads() -> None:
    said: list[str] = []
    reload = Reload("s1", said.append)
    troubles = [KeyError("a user")]

    def read() -> str:
        if troubles:
            raise troubles.pop()
        return "2 in all"

    reload.add("users", read)
    reload.add("secret", lambda: "")
    reload.begin()
    reload.ask()
    eventually(lambda: len(said) == 2)
    reload.ask()
    eventually(lambda: len(said) == 3)
    assert said == [
        "[!] s1 reloaded users only in part: KeyError('a user')",
        "[*] s1 has reloaded: secret",
        "[*] s1 has reloaded: users (2 in all), secret",
    ]


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
