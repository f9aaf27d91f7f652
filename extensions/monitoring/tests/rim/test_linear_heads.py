"""The head of a request over HTTP costs work in proportion to its bytes."""

from __future__ import annotations

import contextlib
import socket

import pytest

from raftline.monitoring.http_listener import HttpConnection, HttpRefusal, read_request
from raftline.wire.limits import HTTP_HEAD_BYTES
from raftline_testing.linear_work import FACTOR, TIMES_MORE_MAX, times_more

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "piece", [b"x", b"\r", b"\n ", b"Host:x\r\n", b":", b" ", b"GET / HTTP/1.1 "]
)
@pytest.mark.parametrize("step", [1, HTTP_HEAD_BYTES])
def test_http_head_costs_work_linear_in_its_bytes(piece: bytes, step: int) -> None:
    """The head of a request over HTTP costs work in proportion."""

    def ask(data: bytes) -> None:
        with socket.socket() as unconnected:
            asker = HttpConnection(unconnected, 0.0)
            for place in range(0, len(data), step):
                asker.is_whole(data[place : place + step])
        with contextlib.suppress(HttpRefusal):
            read_request(bytes(asker.head), lambda host: host != "x")

    first = b"GET / HTTP/1.1\r\n"
    assert times_more(ask, first, piece, HTTP_HEAD_BYTES // FACTOR) <= TIMES_MORE_MAX
