"""A fuzzer's requests for pages of figures, and the rule that must hold for any bytes."""

from __future__ import annotations

import socket

from hypothesis import strategies as st

from raftline.monitoring.http_listener import HttpConnection, HttpRefusal, read_request
from raftline_testing.fuzzing.file_targets import EDITS, Form, attempt, changed, is_one_line
from raftline_testing.fuzzing.targets import Target

_HEADS = st.sampled_from(
    [
        b"GET /health HTTP/1.1\r\nHost: localhost:9100\r\nAccept: */*\r\n\r\n",
        b"HEAD /metrics?x=1 HTTP/1.0\n\n",
        b"POST /status HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 5\r\n\r\nhello",
        b"GET /ready HTTP/1.1\r\nHost: [::1]\r\nHost: 127.0.0.1\r\n\r\n",
    ]
)
REQUESTS = st.tuples(
    st.builds(changed, _HEADS, EDITS) | st.binary(max_size=200), st.integers(1, 40)
)
REQUEST_FORM = Form(
    lambda data: (data[1:], 1 + sum(data[:1]) % 40), lambda drawn: bytes([drawn[1] - 1]) + drawn[0]
)


def check_request(drawn: tuple[bytes, int]) -> None:
    """Check that a request has a path or a refusal, and that its end doesn't depend on its
    pieces."""
    data, size = drawn
    asked_of: list[str] = []

    def refuses(host: str) -> bool:
        asked_of.append(host)
        return "evil" in host

    is_whole = _is_whole(data, len(data) or 1)
    assert _is_whole(data, size) == is_whole
    if not is_whole:
        return
    found, why = attempt(HttpRefusal, lambda: read_request(data, refuses))
    if found is None:
        assert is_one_line(why)
        return
    assert "?" not in found.path
    assert not any("evil" in host for host in asked_of)


def _is_whole(data: bytes, size: int) -> bool:
    """Return whether the end is noticed if this many bytes arrive at a time."""
    with socket.socket() as unused:
        connection = HttpConnection(unused, 0.0)
        return any(
            [connection.is_whole(data[place : place + size]) for place in range(0, len(data), size)]
        )


TARGETS = {"requests": Target(REQUESTS, check_request, REQUEST_FORM)}
