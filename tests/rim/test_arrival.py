"""A connection is a line on the console, unless it only asks for `status`."""

from __future__ import annotations

import socket

import pytest

from raftline.net.lines import ConnectionNotice


def said_of(first: bytes | None, *later: bytes) -> list[str]:
    """Return what is said where a connection begins so (None: it is silent), and goes on so."""
    said: list[str] = []
    notice = ConnectionNotice(lambda: said.append("came"))
    near, far = socket.socketpair()
    with near, far:
        if first is not None:
            far.sendall(first)
        if first == b"":
            far.close()
        notice.peek(near)
        if first:
            assert near.recv(200) == first  # all is left to who reads
            notice.first_lines(first.splitlines())
        for line in later:
            notice.first_lines([line])
    return said


@pytest.mark.parametrize("first", [b"status\n", b"s4@status\r\n", b"status\nclient4@status\n"])
def test_a_connection_that_asks_only_for_status_prints_no_line(first: bytes) -> None:
    assert said_of(first, b"status", b"raftline@status") == []


@pytest.mark.parametrize("first", [None, b"", b"get a\n", b"s2@PreVote 1-0-0\n", b"half", b"\n"])
def test_any_other_connection_prints_one_line(first: bytes | None) -> None:
    assert said_of(first, b"get a", b"status", b"get b") == ["came"]


def test_a_status_connection_prints_its_line_at_its_first_other_request() -> None:
    assert said_of(b"status\n", b"status") == []
    assert said_of(b"status\n", b"get a", b"get b") == ["came"]
    assert said_of(b"status\nget a\n") == ["came"]
