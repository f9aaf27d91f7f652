"""Lines without an end, from a stranger in a node's place: a client keeps none of them."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

import pytest

import raftline.clients.asyncio.line_protocol
import raftline.net.line_connection
from raftline.clients.asyncio.line_stream import LineStream
from raftline.clients.asyncio.link import Link
from raftline.clients.connections.node_connection import OutcomeUnknown, Unreachable
from raftline.clients.requests.search import lost
from raftline.common.address import Address
from raftline.net.line_connection import LineConnection, TooLong
from raftline.wire.limits import ANSWER_BYTES, REPLY_LINE_BYTES

LIMIT = 1000
REPORT = "answered with a line of more than 1000 bytes"


@pytest.fixture(autouse=True)
def short_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (
        raftline.net.line_connection,
        raftline.clients.asyncio.line_protocol,
    ):
        monkeypatch.setattr(module, "REPLY_LINE_BYTES", LIMIT)


class Transport(asyncio.Transport):
    is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass


def test_the_longest_answer_that_a_node_may_give_is_taken() -> None:
    assert REPLY_LINE_BYTES > 4 * ANSWER_BYTES + 4 * (1 << 10)


def test_a_client_takes_no_line_without_an_end() -> None:
    here, there = socket.socketpair()
    connection = LineConnection.__new__(LineConnection)
    connection.socket, connection.timeout_s, connection.received = here, 30.0, bytearray()
    there.sendall(b"x" * LIMIT + b"\n" + b"y" * (LIMIT + 1))
    there.close()
    assert connection.read() == b"x" * LIMIT
    with pytest.raises(TooLong, match=REPORT):
        connection.read()
    here.close()


def test_the_report_says_what_became_of_the_request() -> None:
    address, report = Address("h", 1), TooLong(LIMIT)
    error = lost("set a 1", address, report, 1.0)
    assert isinstance(error, OutcomeUnknown)
    assert str(error).startswith(f"outcome unknown: h port 1 {REPORT}. ")
    asked = lost("get a", address, report, 1.0)
    assert isinstance(asked, Unreachable)
    assert str(asked) == f"h port 1 {REPORT}. Ask again, or ask another node."


@pytest.mark.usefixtures("event_loops")
async def test_a_link_takes_no_line_without_an_end() -> None:
    link, transport = Link(Address("h", 1), "me"), Transport()
    link.connection_made(transport)
    taken, asked = link.send(b"me@get a"), link.send(b"me@get b")
    link.data_received(b"s1@" + b"x" * (LIMIT - 3))
    assert link.is_open
    link.data_received(b"\n" + b"y" * LIMIT)
    assert (await taken).text == "x" * (LIMIT - 3)
    assert link.is_open
    link.data_received(b"y")
    assert not link.is_open
    with pytest.raises(TooLong, match=REPORT):
        await asked
    assert transport.is_aborted
    link.data_received(b"y" * LIMIT)  # it was on its way
    assert not cast(Any, link)._received


@pytest.mark.usefixtures("event_loops")
async def test_a_watch_takes_no_line_without_an_end() -> None:
    stream, transport = LineStream(Address("h", 1)), Transport()
    stream.connection_made(transport)
    stream.data_received(b"x" * LIMIT + b"\n" + b"y" * LIMIT)
    assert not transport.is_aborted
    stream.data_received(b"y")
    assert transport.is_aborted
    assert await stream.read(30.0) == b"x" * LIMIT
    with pytest.raises(TooLong, match=REPORT):
        await stream.read(30.0)
    stream.data_received(b"y" * LIMIT)
    assert not cast(Any, stream)._received
