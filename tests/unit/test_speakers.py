"""Who speaks for a peer, and what its silence means."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from raftline.net.connection import Connection
from raftline.net.speakers import Speakers


@pytest.mark.parametrize(("speaks_elsewhere", "lost"), [(False, ["s2"]), (True, [])])
def test_a_peer_is_lost_with_the_connection_that_it_spoke_on_last(
    speaks_elsewhere: bool, lost: list[str]
) -> None:
    now, told = [0], []
    server: Any = SimpleNamespace(
        name="s1", speakers=Speakers(300, lambda: now[0]),
        driver=SimpleNamespace(lost=told.append),
    )  # fmt: skip
    here, there = socket.socketpair()
    connection = Connection(server, here, for_peers_only=False)
    connection._speaks_for = "s2"
    server.speakers.claim("s2", connection)
    if speaks_elsewhere:
        now[0] = 300  # the first has been silent for so long
        server.speakers.claim("s2", object())
    there.close()
    connection.serve()
    assert told == lost
