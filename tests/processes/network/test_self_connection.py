"""A dial to a dead peer that meets itself: the kernel allows it, a node must not."""

from __future__ import annotations

import socket

import pytest

from raftline.common.address import Address
from raftline.net.peers import peers
from raftline.net.peers.peers import Peer
from raftline_testing.nodes.processes import free_ports


def test_a_connection_to_itself_is_closed_and_its_port_freed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = next(free_ports)
    met = socket.socket()
    met.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    met.bind(("127.0.0.1", port))
    met.connect(("127.0.0.1", port))
    assert met.getsockname() == met.getpeername()
    monkeypatch.setattr(peers.socket, "create_connection", lambda *_, **__: met)
    peer = Peer("s1", "s2", Address("localhost", port), _ignore, _ignore, _ignore)
    with pytest.raises(ConnectionRefusedError, match="is this very connection"):
        peer._connect()
    assert met.fileno() == -1


def _ignore(_: object) -> None:
    """Take no note."""
