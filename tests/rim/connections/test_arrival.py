"""A connection is a line on the console, unless it only asks for `status`."""

from __future__ import annotations

import socket
from typing import Any, cast

import pytest

from raftline.net.connections.outgoing import Outgoing
from raftline.net.peers.opening import asks_only_status
from raftline.net.peers.peers import Speaker
from raftline.net.protocol.admission import Admission
from raftline.net.protocol.server_protocol import ServerProtocol
from raftline_testing.doubles.fake_host import FakeHost


def said_of(first: bytes | None, *later: bytes) -> list[str]:
    """Return what is said where a connection begins so (None: it is silent), and continues so."""
    said: list[str] = []
    host: Any = FakeHost(status=lambda: "")
    near, far = socket.socketpair()
    with near, far:
        protocol = ServerProtocol(
            host,
            Admission(host, cast(Speaker, near)),
            Outgoing(host, near),
            announce=lambda: said.append("came"),
        )
        if first is not None:
            far.sendall(first)
        if first == b"":
            far.close()
        if not asks_only_status(near):
            protocol.announce()
        if first:
            assert near.recv(200) == first  # all is left to who reads
        for data in (first or b"", *(line + b"\n" for line in later)):
            if data:
                protocol.receive_data(data, 0.0)
            while protocol.next_step() is not None:
                pass
    return said


@pytest.mark.parametrize("first", [b"status\n", b"s4@status\r\n", b"status\nclient4@status\n"])
def test_a_connection_that_asks_only_for_status_prints_no_line(first: bytes) -> None:
    assert said_of(first, b"status", b"raftline@status") == []


@pytest.mark.parametrize("first", [None, b"", b"get a\n", b"s2@PreVote 1-0-0\n", b"half", b"\n"])
def test_any_other_connection_prints_one_line(first: bytes | None) -> None:
    assert said_of(first, b"get a", b"status", b"get b") == ["came"]


@pytest.mark.parametrize("first", [b"", b"half"])
def test_a_connection_that_ends_without_a_line_prints_one(first: bytes) -> None:
    assert said_of(first) == ["came"]


def test_status_connection_is_printed_at_another_request() -> None:
    """A connection that only asks for `status` is announced with its first other request."""
    assert said_of(b"status\n", b"status") == []
    assert said_of(b"status\n", b"get a", b"get b") == ["came"]
    assert said_of(b"status\nget a\n") == ["came"]
